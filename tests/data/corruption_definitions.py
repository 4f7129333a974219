"""The published definitions of the corruptions, written out plainly: pictures h w 3, values 0 to 1, drawn as ours are."""

import colorsys
import math

import numpy as np
import simplejpeg
from scipy import ndimage, stats

from pellucid.data.corrupt import ice


def drawn(rng, shape, law="standard_normal"):
    """What our functions draw per channel, as h w 3."""
    found = getattr(rng, law)((shape[2], *shape[:2]), dtype=np.float32)
    return found.transpose(1, 2, 0).astype(float)


def gaussian_noise(x, c, rng):
    return x + c[0] * drawn(rng, x.shape)


def speckle_noise(x, c, rng):
    return x + x * c[0] * drawn(rng, x.shape)


def impulse_noise(x, c, rng):
    u = drawn(rng, x.shape, "random")
    return np.where(u < c[0] / 2, 0.0, np.where(u < c[0], 1.0, x))


def shot_noise(x, c, rng):
    return np.maximum(stats.poisson.ppf(drawn(rng, x.shape, "random"), x * c[0]), 0) / c[0]


def blurred(x, sigma, mode="nearest", truncate=4.0):
    return ndimage.gaussian_filter(x, (sigma, sigma, 0)[: x.ndim], mode=mode, truncate=truncate)


def gaussian_blur(x, c, rng):
    return blurred(x, c[0])


def defocus_blur(x, c, rng):
    end, size = (8, 3) if c[0] <= 8 else (int(c[0]), 5)
    disk = np.array([[float(i * i + j * j <= c[0] ** 2) for j in range(-end, end + 1)] for i in range(-end, end + 1)])
    line = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * c[1] ** 2))
    soft = np.outer(line, line) / line.sum() ** 2
    kernel = ndimage.correlate(disk / disk.sum(), soft, mode="mirror")
    return ndimage.correlate(x, kernel[:, :, None], mode="mirror")


def smeared(x, radius, sigma, angle):
    width = 2 * int(radius) + 1
    weights = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    found = np.zeros_like(x)
    for i, weight in enumerate(weights / weights.sum()):
        rows = np.arange(x.shape[0]) + math.ceil(i * math.sin(math.radians(angle)) - 0.5)
        columns = np.arange(x.shape[1]) + math.ceil(i * math.cos(math.radians(angle)) - 0.5)
        found += weight * x[rows.clip(0, x.shape[0] - 1)][:, columns.clip(0, x.shape[1] - 1)]
    return found


def motion_blur(x, c, rng):
    return np.round(smeared(x, *c, rng.uniform(-45, 45)) * 255) / 255


def middle(x, height, width):
    top, left = (x.shape[0] - height) // 2, (x.shape[1] - width) // 2
    return x[top : top + height, left : left + width]


def zoom_blur(x, c, rng):
    factors = np.arange(1, c[0], c[1])
    total = x.copy()
    for factor in factors:
        inner = middle(x, math.ceil(x.shape[0] / factor), math.ceil(x.shape[1] / factor))
        total += middle(ndimage.zoom(inner, (factor, factor, 1), order=1), *x.shape[:2])
    return total / (len(factors) + 1)


def glass_blur(x, c, rng):
    sigma, reach, rounds = c[0], int(c[1]), int(c[2])
    x = (blurred(x, sigma) * 255 + 5e-4).astype(np.uint8)
    height, width = x.shape[:2]
    for _ in range(rounds):
        moves = rng.integers(-reach, reach, size=(2, height - 2 * reach, width - 2 * reach))
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                dy, dx = moves[:, h - reach - 1, w - reach - 1]
                x[h, w], x[h + dy, w + dx] = x[h + dy, w + dx], x[h, w]
    return blurred(x / 255, sigma)


def snow(x, c, rng):
    height, width = x.shape[:2]
    shape = (math.ceil(height / c[2]), math.ceil(width / c[2]))
    flakes = c[0] + c[1] * rng.standard_normal(shape, dtype=np.float32).astype(float)
    flakes = middle(ndimage.zoom(flakes, c[2], order=1), height, width)
    flakes[flakes < c[3]] = 0
    flakes = np.floor(flakes.clip(0, 1) * 255 + 5e-4)
    flakes = np.round(smeared(flakes, c[4], c[5], rng.uniform(-135, -45)))[:, :, None] / 255
    grey = (x @ (0.299, 0.587, 0.114))[:, :, None]
    return c[6] * x + (1 - c[6]) * np.maximum(x, grey * 1.5 + 0.5) + flakes + np.rot90(flakes, 2)


def frost(x, c, rng):
    sheet = ice.sheet(int(rng.integers(5)), c[2]).numpy().transpose(1, 2, 0) / 255
    top, left = rng.integers(len(sheet)), rng.integers(len(sheet))
    twice = np.tile(sheet, (3, 3, 1))[top : top + x.shape[0], left : left + x.shape[1]]
    return c[0] * x + c[1] * twice


def fog(x, c, rng):
    side, step, wibble = 64, 64, 100.0
    heights = np.zeros((side, side))

    def filled(rows, columns, around):
        noise = rng.uniform(-wibble, wibble, (len(rows), len(columns)))
        for i, y in enumerate(rows):
            for j, z in enumerate(columns):
                total = sum(heights[(y + a) % side, (z + b) % side] for a, b in around)
                heights[y, z] = total / 4 + wibble * noise[i, j]

    while step >= 2:
        half = step // 2
        whole, between = range(0, side, step), range(half, side, step)
        filled(between, between, [(-half, -half), (-half, half), (half, -half), (half, half)])
        cross = [(-half, 0), (half, 0), (0, -half), (0, half)]
        filled(whole, between, cross)
        filled(between, whole, cross)
        step, wibble = half, wibble / c[1]
    heights = (heights - heights.min()) / (heights.max() - heights.min())
    clouds = c[0] * heights[: x.shape[0], : x.shape[1], None]
    return (x + clouds) * x.max() / (x.max() + c[0])


def in_hsv(x, change):
    found = np.empty_like(x)
    for place in np.ndindex(*x.shape[:2]):
        found[place] = colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*x[place])))
    return found


def brightness(x, c, rng):
    return in_hsv(x, lambda h, s, v: (h, s, min(v + c[0], 1)))


def saturate(x, c, rng):
    return in_hsv(x, lambda h, s, v: (h, min(max(s * c[0] + c[1], 0), 1), v))


def contrast(x, c, rng):
    means = x.mean((0, 1), keepdims=True)
    return (x - means) * c[0] + means


def elastic_transform(x, c, rng):
    height, width = x.shape[:2]
    moves = rng.uniform(-c[2], c[2], (3, 2))
    noise = 2 * rng.random((2, height, width), dtype=np.float32).astype(float) - 1
    centre, reach = np.array([width // 2, height // 2]), min(height, width) // 3
    corners = np.array([centre + reach, [centre[0] + reach, centre[1] - reach], centre - reach])
    unknown = np.linalg.solve(np.c_[corners, np.ones(3)], corners + moves)  # as it is published: from the picture to the result
    linear, shift = unknown[:2].T, unknown[2]
    y, z = np.mgrid[:height, :width].astype(float)
    back = np.linalg.inv(linear) @ (np.stack([z.ravel(), y.ravel()]) - shift[:, None])
    tilted = np.stack([ndimage.map_coordinates(x[:, :, i], back[::-1], order=1, mode="mirror").reshape(height, width) for i in range(3)], 2)
    dx, dy = (blurred(n, c[1], "reflect", 3.0) * c[0] if c[1] else n * 0 for n in noise)
    return np.stack([ndimage.map_coordinates(tilted[:, :, i], (y + dy, z + dx), order=1, mode="reflect") for i in range(3)], 2)


def pixelate(x, c, rng):
    height, width = x.shape[:2]
    rows, columns = int(height * c[0]), int(width * c[0])

    def shares(num, side):  # an output pixel takes the input pixels whose centres lie in its stretch
        centres, scale = np.arange(side) + 0.5, side / num
        inside = [(centres > i * scale) & (centres <= (i + 1) * scale) for i in range(num)]
        return np.array(inside) / np.sum(inside, axis=1, keepdims=True)

    small = np.einsum("rh,hwc,sw->rsc", shares(rows, height), x, shares(columns, width))
    return small[((np.arange(height) + 0.5) * rows / height).astype(int)][:, ((np.arange(width) + 0.5) * columns / width).astype(int)]


def jpeg_compression(x, c, rng):
    image = np.ascontiguousarray((x * 255).round().astype(np.uint8))
    return simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(image, int(c[0]), "RGB", "420", False), "RGB", False, False) / 255


def canny(image):
    """Edges pixel by pixel: gradient, ridge along its direction, then growth from strong ridges through weak ones."""
    height, width = image.shape
    value = np.pad(image.astype(int), 1, mode="edge")
    across = ndimage.correlate(value, np.outer([1, 2, 1], [-1, 0, 1]))[1:-1, 1:-1]
    down = ndimage.correlate(value, np.outer([-1, 0, 1], [1, 2, 1]))[1:-1, 1:-1]
    size = np.pad(abs(across) + abs(down), 1)
    ridge = np.zeros((height, width), bool)
    for y, x in np.ndindex(height, width):
        gx, gy, here = across[y, x], down[y, x], size[y + 1, x + 1]
        angle = math.degrees(math.atan2(abs(gy), abs(gx)))
        if angle < 22.5:
            top = here > size[y + 1, x] and here >= size[y + 1, x + 2]
        elif angle > 67.5:
            top = here > size[y, x + 1] and here >= size[y + 2, x + 1]
        else:
            s = -1 if (gx < 0) != (gy < 0) else 1
            top = here > size[y, x + 1 - s] and here > size[y + 2, x + 1 + s]
        ridge[y, x] = top and here > 50
    found = ridge & (size[1:-1, 1:-1] > 150)
    while True:
        grown = ndimage.binary_dilation(found, np.ones((3, 3))) & ridge
        if (grown == found).all():
            return found
        found = grown


def spatter(x, c, rng):
    mean, deviation, blur, threshold, strength, mud = c
    height, width = x.shape[:2]
    field = blurred(mean + deviation * rng.standard_normal((1, height, width), dtype=np.float32)[0].astype(float), blur)
    if mud:
        cover = blurred((field > threshold).astype(float), strength)[:, :, None]
        cover[cover < 0.8] = 0
        return x * (1 - cover) + np.array([63, 42, 20]) / 255 * cover
    drops = np.floor(np.where(field < threshold, 0, field) * 255 + 5e-4)
    edge = np.argwhere(canny(drops))
    places = np.stack(np.mgrid[:height, :width], -1)
    far = [np.sqrt(((places[:, :, None] - edge[None, None]) ** 2).sum(-1)).min(-1)] if len(edge) else [np.full((height, width), 20.0)]
    near = np.floor(ndimage.uniform_filter(np.minimum(far[0], 20), 3, mode="mirror") + 1e-9)
    least, count = near.min(), near.size
    others = max(count - (near == least).sum(), 1)
    spread = np.vectorize(lambda v: np.rint(255 * ((near <= v).sum() - (near == least).sum()) / others))(near)
    lit = ndimage.correlate(spread if near.max() > least else near, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]), mode="mirror")
    shine = drops * np.rint(ndimage.uniform_filter(lit.clip(0, 255), 3, mode="mirror"))
    shine = shine / shine.max() * strength if shine.any() else shine
    return x + shine[:, :, None] * np.array([175, 238, 238]) / 255
