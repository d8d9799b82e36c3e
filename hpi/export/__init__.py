"""What is written for other servers."""
