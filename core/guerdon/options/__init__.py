"""The options of other libraries as data, so that a manifest is checked without importing them."""
