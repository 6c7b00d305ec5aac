"""What people and other services are told, and how it reaches them."""
