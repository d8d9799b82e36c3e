"""What runs on many processes or machines: batches of files, and the service on Ray."""
