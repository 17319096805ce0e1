"""A lecture hall that opens the page: visitors without screens, and what they saw.

They speak to a server as a browser does, but draw nothing, so that a few hundred of them fit into
two processes beside the server that they are to try.  Nothing here imports the page or its server:
the hall knows only what goes over the wire, and whoever changes that has to say so here as well.

    browser.py   what a browser does over HTTP: connections, cookies, kept files, bytes
    visitor.py   one visitor: opens the page, sees its first picture, changes something
    line.py      the page's websocket, over one connection after the other
    drawing.py   what a browser tells the server while it draws
    crowd.py     a process with many of them (`python -m mhc_demo.hall`)
    server.py    a server of our own, and what it takes of the machine
    lecturer.py  whom they follow from scene to scene
    check.py     both together, beside somebody who asks all the while whether the server answers
    account.py   the answers as a table
"""
