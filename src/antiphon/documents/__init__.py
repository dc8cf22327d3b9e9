"""Text of uploaded files, read in processes of their own."""
