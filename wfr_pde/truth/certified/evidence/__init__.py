"""What is known about the error of a certified solution, by several ways."""
