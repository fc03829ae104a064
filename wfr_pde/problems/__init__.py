"""Problems and data that people publish."""
