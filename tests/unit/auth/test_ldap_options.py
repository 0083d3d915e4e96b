"""Options of LDAP servers."""

from __future__ import annotations

import pytest

from pgswitch.auth.ldap import LdapOptions, LdapOptionsError, parse_ldap

BIND = 'ldapserver=a ldapprefix="uid=" ldapsuffix=",dc=x"'


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (BIND, LdapOptions(servers=("a",), prefix="uid=", suffix=",dc=x")),
        (
            'ldapserver="a b",ldapport=1389, ldaptls=1 ldapsuffix="@x"',
            LdapOptions(servers=("a", "b"), port=1389, start_tls=True, suffix="@x"),
        ),
        (
            'ldapserver=a ldapbasedn="dc=x" ldapbinddn=m ldapbindpasswd="p ""q"""',
            LdapOptions(
                servers=("a",),
                base="dc=x",
                bind_dn="m",
                bind_password='p "q"',
            ),
        ),
        (
            'ldapserver=a ldapbasedn="dc=x" ldapsearchfilter=(|(uid=$username)(x=y))',
            LdapOptions(servers=("a",), base="dc=x", filter="(|(uid=$username)(x=y))"),
        ),
        ('ldapbasedn="dc=x,dc=y"', LdapOptions(base="dc=x,dc=y")),
        (
            "ldapurl=ldaps://h:637/dc=x%2Cdc=y?mail?one",
            LdapOptions(
                servers=("h",),
                scheme="ldaps",
                port=637,
                base="dc=x,dc=y",
                attribute="mail",
                scope="one",
            ),
        ),
        (
            'ldapurl="ldap://h/dc=x??sub?(uid=$username)" ldapbinddn=cn=m',
            LdapOptions(
                servers=("h",), base="dc=x", filter="(uid=$username)", bind_dn="cn=m"
            ),
        ),
    ],
)
def test_options(text: str, options: LdapOptions) -> None:
    """Both ways to log in, and URLs."""
    assert parse_ldap(text) == options


@pytest.mark.parametrize(
    "text",
    [
        "ldapserver",
        "ldapserver=a",
        "ldapsuffix=x",
        "nonsense=1 " + BIND,
        BIND + ' ldapbasedn="dc=x"',
        BIND + " ldapport=x",
        BIND + " ldapport=65536",
        BIND + " ldaptls=2",
        BIND + " ldapscheme=http",
        "ldapserver=a ldapbinddn=x",
        "ldapserver=a ldapbasedn=x ldapsearchattribute=a ldapsearchfilter=b",
        "ldapurl=ldap://h:x/dc=x",
        "ldapurl=ldap://h/dc=x??all",
        'ldapserver="a',
        "ldapserver=a;ldapprefix=x ldapsuffix=" + "x" * 1024,
    ],
)
def test_bad_options(text: str) -> None:
    """Are refused."""
    with pytest.raises(LdapOptionsError):
        parse_ldap(text)


def test_no_password_is_shown() -> None:
    """Neither in a repr nor in what is wrong."""
    options = parse_ldap("ldapserver=a ldapbasedn=x ldapbindpasswd=hush")
    assert "hush" not in repr(options)
    with pytest.raises(LdapOptionsError) as caught:
        parse_ldap('ldapserver=a ldapbindpasswd="hush')
    assert "hush" not in str(caught.value)
