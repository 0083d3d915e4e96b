"""Reads the configuration file and the auth file into frozen values.

A file becomes lines (``load``, ``userlist``), a line becomes an entry (``entries``),
and the whole a ``Configuration`` (``model``).  ``settings`` and ``model`` are the
tables of all settings and keys; ``units`` has the types of their values.  ``effective``
says which of several values holds, ``trust`` who else may write to the files.
``report`` describes settings to readers.
"""
