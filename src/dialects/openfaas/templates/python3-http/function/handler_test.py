from .handler import handle


def test_handle():
    assert handle(None, None)["statusCode"] == 200
