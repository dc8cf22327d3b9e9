"""The chat in a browser: a Flask application over the client, on any WSGI server or ours."""
