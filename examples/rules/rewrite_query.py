"""Answer reports on a big sales table from small summary tables.

    rewrite_query_py_module_file = /etc/pgswitch/rewrite_query.py

store_sales holds the totals by store, product_sales those by product.
"""

import re

_REPORTS = [
    (
        r"SELECT storename, SUM\(total\) FROM sales JOIN store USING \(storeid\)"
        r" GROUP BY storename ORDER BY storename",
        "SELECT storename, SUM(total) FROM store_sales"
        " GROUP BY storename ORDER BY storename;",
    ),
    (
        r"SELECT prodname, SUM\(total\) FROM sales JOIN product USING \(productid\)"
        r" GROUP BY prodname ORDER BY prodname",
        "SELECT prodname, SUM(total) FROM product_sales"
        " GROUP BY prodname ORDER BY prodname;",
    ),
]
_REPORTS = [(re.compile(report), better) for report, better in _REPORTS]

# The result depends only on user and text, so pgswitch may cache it.
cacheable = True


def rewrite_query(username, query, in_transaction):
    for report, better in _REPORTS:
        if report.match(query):
            return better
    return None  # send it unchanged
