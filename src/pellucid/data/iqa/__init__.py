"""Sets of distorted pictures beside their pristine originals, with what people (or other metrics) thought of them."""
