#!/usr/bin/env python3
"""Pushes an image to Heroku or to ECR, and releases it on Heroku.

    python3 scripts/publish.py heroku IMAGE    HEROKU_API_KEY, HEROKU_APP
    python3 scripts/publish.py ecr IMAGE       ECR_REPOSITORY (…amazonaws.com/seaworthy), and what the `aws` program needs

Without these variables it says so and does nothing, so that a fork's CI is green. Heroku's registry takes only images whose
manifest is Docker's, version 2, schema 2: an image whose manifest is another one is not released, and docs/deploy.md
says how to build it. Needs Docker and Python 3.9 or newer.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any, Optional

from smoke import ROOT, Failure

DOCKER_V2 = "application/vnd.docker.distribution.manifest.v2+json"
ANY_MANIFEST = ", ".join(
    [
        DOCKER_V2,
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
    ]
)
# Replaced where this script is tried.
HEROKU_REGISTRY = os.environ.get("HEROKU_REGISTRY", "registry.heroku.com")
HEROKU_API = os.environ.get("HEROKU_API", "https://api.heroku.com")
HEALTHY_WITHIN_SECONDS = 90


def run(*command: str, secret: Optional[str] = None) -> str:
    """What a command prints; its standard input is the secret."""
    done = subprocess.run(command, input=secret, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"`{' '.join(command)}`: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def call(
    url: str, headers: dict[str, str], body: Any = None, method: Optional[str] = None
) -> tuple[dict[str, str], Any]:
    """Headers and JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return {key.lower(): value for key, value in response.headers.items()}, json.load(response)
    except urllib.error.HTTPError as error:
        raise Failure(f"{method or 'GET'} {url}: {error.code} {error.read()[:500]!r}") from None


def manifest_type(registry: str, name: str, tag: str, user: str, password: str) -> str:
    """How the registry holds the image."""
    # A registry on this machine, where this script is tried, speaks no TLS.
    scheme = "http" if registry.startswith("localhost:") else "https"
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Accept": ANY_MANIFEST, "Authorization": f"Basic {login}"}
    found, _ = call(f"{scheme}://{registry}/v2/{name}/manifests/{tag}", headers)
    return found.get("content-type", "nothing")


def heroku(image: str, key: str, app: str) -> None:
    run("docker", "login", "--username=_", "--password-stdin", HEROKU_REGISTRY, secret=key)
    target = f"{HEROKU_REGISTRY}/{app}/web"
    run("docker", "tag", image, target)
    run("docker", "push", "--quiet", target)
    if (found := manifest_type(HEROKU_REGISTRY, f"{app}/web", "latest", "_", key)) != DOCKER_V2:
        raise Failure(
            f"the manifest of {target} is {found}, and Heroku takes {DOCKER_V2}; build the image with `--provenance=false "
            "--output type=docker`, or with DOCKER_BUILDKIT=0: see docs/deploy.md"
        )
    headers = {
        "Accept": "application/vnd.heroku+json; version=3.docker-releases",
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
    }
    identity = run("docker", "inspect", "--format={{.Id}}", image)
    update = {"updates": [{"type": "web", "docker_image": identity}]}
    call(f"{HEROKU_API}/apps/{app}/formation", headers, update, "PATCH")
    headers["Accept"] = "application/vnd.heroku+json; version=3"
    _, about = call(f"{HEROKU_API}/apps/{app}", headers)
    health = wait_until_healthy(about["web_url"].rstrip("/"))
    print(f"publish: {app} runs {identity}; {about['web_url']} serves {health['model']} {health['model_version']}")


def wait_until_healthy(url: str) -> Any:
    deadline, last = time.monotonic() + HEALTHY_WITHIN_SECONDS, ""
    while time.monotonic() < deadline:
        try:
            return call(f"{url}/health", {})[1]
        except (Failure, OSError, ValueError) as error:
            last = str(error)
        time.sleep(1)
    raise Failure(f"{url}/health is not 200 within {HEALTHY_WITHIN_SECONDS} s of the release: {last}")


def ecr(image: str, repository: str) -> None:
    """Tags with the commit and with `latest`; a stack of deploy/ecs.yaml is updated by its own command."""
    registry, _, _ = repository.partition("/")
    parts = registry.split(".")
    if len(parts) < 5 or parts[1:3] != ["dkr", "ecr"]:
        raise Failure(f"ECR_REPOSITORY is `{repository}`; expected ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME")
    password = run("aws", "ecr", "get-login-password", "--region", parts[3])
    run("docker", "login", "--username=AWS", "--password-stdin", registry, secret=password)
    for tag in (run("git", "-C", str(ROOT), "rev-parse", "HEAD"), "latest"):
        run("docker", "tag", image, f"{repository}:{tag}")
        run("docker", "push", "--quiet", f"{repository}:{tag}")
        print(f"publish: {repository}:{tag}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("platform", choices=["heroku", "ecr"])
    parser.add_argument("image")
    arguments = parser.parse_args()
    needed = {"heroku": ["HEROKU_API_KEY", "HEROKU_APP"], "ecr": ["ECR_REPOSITORY"]}[arguments.platform]
    if missing := [name for name in needed if not os.environ.get(name)]:
        print(f"publish: {' and '.join(missing)} not set: nothing goes to {arguments.platform}")
        return
    values = [os.environ[name] for name in needed]
    if arguments.platform == "heroku":
        heroku(arguments.image, *values)
    else:
        ecr(arguments.image, *values)


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError) as failure:
        sys.exit(f"publish: {failure}")
