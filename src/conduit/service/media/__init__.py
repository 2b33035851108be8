"""The content repository: files, what they are called, thumbnails, and how long they are kept."""
