"""Networks behind one face: frames in, vectors and tokens out."""
