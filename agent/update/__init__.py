"""The update process: verifies, stages, tries, confirms or refuses; short-lived, the only writer of what is served.

The rule: nothing unverified is ever durable as `current`, the rollback target is not touched while a trial runs,
and every state is saved before it is acted on. TUF and cryptography are imported here and nowhere else.
"""
