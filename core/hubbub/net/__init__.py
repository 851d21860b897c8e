"""The network floor: transports, listeners, flushing and the stop.

Import the public names from `hubbub.server`.
"""
