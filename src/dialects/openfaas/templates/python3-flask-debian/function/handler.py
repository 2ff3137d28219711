def handle(req):
    """Answers the body of a request.

    req (str): the request's body
    """

    return req
