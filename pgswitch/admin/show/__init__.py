"""The tables of SHOW: one file for each subject, one row for each column."""
