"""Who may log in, and with which secrets servers are logged in to."""
