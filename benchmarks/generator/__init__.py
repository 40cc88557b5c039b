"""The load: a process of its own that opens sockets and sends frames when told to.

It takes one JSON object a line on its standard input and answers each with one line.
"""
