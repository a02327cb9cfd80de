"""The web page: a small server, one page of our own, and the tasks of the library between them.

:mod:`.server` speaks HTTP, :mod:`.desk` lets visitors take turns, :mod:`.ask` is what a visitor may ask for,
:mod:`.exhibit` a model as the page shows it, :mod:`.work` what is done, :mod:`.images` pictures to and from a browser.
The page itself lies in ``page/``: it loads nothing from elsewhere.
"""
