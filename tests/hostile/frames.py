"""Frames of a message that no browser sends."""

from __future__ import annotations

Frames = list[str | bytes]

HEADER = '{"msgid": "1", "msgtype": "PATCH-DOC"}'
BUFFERED = '{"msgid": "1", "msgtype": "PATCH-DOC", "num_buffers": %s}'
NO_EVENTS = '{"events": []}'
BROKEN: dict[str, Frames] = {
    "an empty frame": ["", "", ""],
    "binary": [b"{}", b"{}", b"{}"],
    "a binary content": [HEADER, "{}", b"{}"],
    "text that is no UTF-8": [HEADER, "{}", b"\xff\xfe"],
    "a header cut short": ["{", "{}", "{}"],
    "a header that is null": ["null", "{}", "{}"],
    "a header that is a list": ["[]", "{}", "{}"],
    "a long header without a type": ['{"spam": "%s"}' % ("x" * 100_000), "{}", "{}"],
    "a header without a type": ['{"msgid": "1"}', "{}", "{}"],
    "an unknown type": ['{"msgid": "1", "msgtype": "SPAM"}', "{}", "{}"],
    "a type that is a list": ['{"msgid": "1", "msgtype": []}', "{}", "{}"],
    "what only a server sends": ['{"msgid": "1", "msgtype": "ACK"}', "{}", "{}"],
    "an error": ['{"msgid": "1", "msgtype": "ERROR"}', "{}", '{"text": "x"}'],
    "a pull without a number": ['{"msgtype": "PULL-DOC-REQ"}', "{}", "{}"],
    "a patch without a number": ['{"msgtype": "PATCH-DOC"}', "{}", NO_EVENTS],
    "a number that is a list": ['{"msgtype": "SERVER-INFO-REQ", "msgid": []}', "{}", "{}"],
    "metadata cut short": [HEADER, "{", "{}"],
    "metadata that are null": [HEADER, "null", NO_EVENTS],
    "a content cut short": [HEADER, "{}", '{"events": ['],
    "a content that is null": [HEADER, "{}", "null"],
    "a content that is a list": [HEADER, "{}", "[]"],
    "no events": [HEADER, "{}", "{}"],
    "events that are a dict": [HEADER, "{}", '{"events": {}}'],
    "an event that is NaN": [HEADER, "{}", '{"events": [NaN]}'],
    "4,301 digits": [HEADER, "{}", '{"events": [%s]}' % ("9" * 4301)],
    "deep": [HEADER, "{}", '{"events": %s}' % ("[" * 900 + "]" * 900)],
    "deeper": [HEADER, "{}", '{"events": %s}' % ("[" * 50_000 + "]" * 50_000)],
    "deep in names": [HEADER, "{}", '{"events": ' + '{"a": ' * 900 + "1" + "}" * 901],
    "buffers that are text": [BUFFERED % 2, "{}", NO_EVENTS, '{"id": "a"}', "text"],
    "a header of a buffer that is a list": [BUFFERED % 1, "{}", NO_EVENTS, "[]", b"x"],
    "a header of a buffer cut short": [BUFFERED % 1, "{}", NO_EVENTS, "{", b"x"],
    "a buffer without a name": [BUFFERED % 1, "{}", NO_EVENTS, '{"id": []}', b"x"],
    "a number of buffers that is text": [BUFFERED % '"a"', "{}", NO_EVENTS, '{"id": "a"}', b"x"],
    "fewer buffers than none": [BUFFERED % -1, "{}", NO_EVENTS, '{"id": "a"}', b"x"],
    "more buffers than announced": [BUFFERED % 1, "{}", NO_EVENTS, *['{"id": "a"}', b"x"] * 3],
}
