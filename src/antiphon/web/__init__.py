"""The web chat: a Flask application over the client, on our own server or any WSGI server."""
