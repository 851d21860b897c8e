"""The network floor: transports, listeners and the HTTP parser, one reason to change per module.

Import the public names from `hubbub.server`, `hubbub.http` and `hubbub.websocket`.
"""
