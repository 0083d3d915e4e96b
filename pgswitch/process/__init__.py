"""What ties the service to its process: start, signals, systemd, pid file."""
