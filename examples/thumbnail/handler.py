"""Thumbnails: POST an image, get a smaller PNG; with `?facts` its size and main colours as JSON."""

import io

from PIL import Image, UnidentifiedImageError
from virga import Response


def handler(request, context):
    if request.method != "POST" or not request.body:
        return Response('{"error": "POST an image"}', status=400, headers={"content-type": "application/json"})
    try:
        image = Image.open(io.BytesIO(request.body))
        image.load()
    except (UnidentifiedImageError, OSError) as error:
        return Response(f"not an image: {error}\n", status=415)

    if "facts" in request.query:
        return {"width": image.width, "height": image.height, "format": image.format, "colours": main_colours(image)}

    width = int(request.query.get("width", ["160"])[0])
    image.thumbnail((width, width))
    out = io.BytesIO()
    image.convert("RGBA").save(out, "PNG")
    print(f"{context.function}: {image.width}x{image.height}, {out.tell()} bytes")
    return Response(out.getvalue(), headers={"content-type": "image/png"})


def main_colours(image, count=4):
    small = image.convert("RGB").quantize(colors=count)
    palette = small.getpalette()
    found = sorted(small.getcolors(), reverse=True)
    return ["#%02x%02x%02x" % tuple(palette[index * 3 : index * 3 + 3]) for _, index in found]
