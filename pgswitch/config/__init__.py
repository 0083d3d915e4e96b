"""Configuration: the ini file and the auth file, read into frozen values."""
