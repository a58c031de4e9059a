"""The endpoints that come with the server: one file each, found by name.

A file `some_name.py` with a class `SomeNameWorker` answers for the signature `some_name`.
Files here are loaded by that endpoint's own server and by nobody else.
A file whose name begins with an underscore is no endpoint: several endpoints share it.
"""
