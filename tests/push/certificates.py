"""Certificates of tests, as their users would make them."""

import subprocess


def certificates(folder):
    """A CA, and a server's certificate by it for 127.0.0.1: the CA's file, and the server's two."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *curve, "-subj", "/CN=spear", "-keyout", "key.pem", "-out", "request.pem")
    (folder / "extensions").write_text("subjectAltName = IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "extensions", "-out", "certificate.pem")
    return folder / "ca.pem", {"certificate": str(folder / "certificate.pem"), "key": str(folder / "key.pem")}
