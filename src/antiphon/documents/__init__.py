"""Text and pictures of pages of uploaded files, read in processes of their own."""
