#!/usr/bin/env bash
# Gets Autobahn|Testsuite, which needs Python 2.7, below target/tools/autobahn: `wstest` there is the program.
#
# Python and what it links come from Debian 11, unpacked and not installed, everything else from PyPI; each file is checked
# against a checksum that stands here or in a list beside. Nothing else on the machine is changed.
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD
folder=$here/../../target/tools/autobahn

fail() {
    echo "Autobahn|Testsuite cannot be had here: $*" >&2
    exit 1
}

# Elsewhere the program is another one, which WSTEST names.
[ "$(uname -sm)" = "Linux x86_64" ] || exit 0
[ -z "${WSTEST-}" ] || exit 0
wanted=$(cat install.sh installers.txt requirements.txt)
[ "$wanted" != "$(cat "$folder/complete" 2>/dev/null)" ] || exit 0

packages=(
    main/p/python2.7/python2.7-minimal_2.7.18-8+deb11u1_amd64.deb
    44f0cdc1a343303d31c55fcb3a6402cfe326adf749ec30e375e6e0c0c5f7c1f7
    main/p/python2.7/libpython2.7-minimal_2.7.18-8+deb11u1_amd64.deb
    85833c92314011b89bbead6f9a5a7a360b5ee4f9b95e001225afead4ebf9f7d3
    main/p/python2.7/libpython2.7-stdlib_2.7.18-8+deb11u1_amd64.deb
    3e627d6d8992b853e000b8a4c09dda613fb767cdb711a2eac20ebc9f867b593c
    main/o/openssl/libssl1.1_1.1.1w-0+deb11u1_amd64.deb
    aadf8b4b197335645b230c2839b4517aa444fd2e8f434e5438c48a18857988f7
    main/libf/libffi/libffi7_3.3-6_amd64.deb
    30ca89bfddae5fa6e0a2a044f22b6e50cd17c4bc6bc850c579819aeab7101f0f
)

# The mirror that this machine's apt uses, and where Debian keeps what its mirrors no longer have.
apt_helper=/usr/lib/apt/apt-helper
[ -x "$apt_helper" ] || fail "$apt_helper is missing"
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$release" '($1 == release || $1 ~ /stable$/) && $2 == "main" { print $3; exit }')
mirrors=(${mirror:+"${mirror%/}"} http://deb.debian.org/debian http://archive.debian.org/debian)

download() {
    local path=$1 checksum=$2 to=$3 from
    for from in "${mirrors[@]}"; do
        if "$apt_helper" -qq -o APT::Sandbox::User= -o Acquire::Retries=4 \
            download-file "$from/pool/$path" "$to" "SHA256:$checksum" 2>>errors; then return 0; fi
    done
    cat errors >&2
    fail "no mirror has $path"
}

echo "== Autobahn|Testsuite"
rm -rf "$folder"
mkdir -p "$folder/downloads"
cd "$folder/downloads"
for ((i = 0; i < ${#packages[@]}; i += 2)); do
    file=$(basename "${packages[i]}")
    download "${packages[i]}" "${packages[i + 1]}" "$file"
    dpkg-deb --extract "$file" "$folder"
done

# Python 3's pip fetches the last pip that Python 2.7 can start, and that one all the rest.
pip=(-qq --disable-pip-version-check --no-cache-dir --no-deps --require-hashes)
python3 -m pip download "${pip[@]}" --only-binary :all: --dest . -r "$here/installers.txt"
unset PYTHONPATH PYTHONHOME
install() {
    # Without the warning, each time, that nobody looks after this Python any more.
    LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu "$folder/usr/bin/python2.7" -sW ignore \
        "$(echo pip-*.whl)/pip" install "${pip[@]}" --no-build-isolation --no-python-version-warning \
        --target "$folder/usr/lib/python2.7/dist-packages" "$@"
}
install --no-index --find-links . -r "$here/installers.txt"
install -r "$here/requirements.txt"

cat >"$folder/wstest" <<'END'
#!/bin/sh
folder=$(dirname "$0")
export LD_LIBRARY_PATH="$folder/usr/lib/x86_64-linux-gnu"
exec "$folder/usr/bin/python2.7" -Es -m autobahntestsuite.wstest "$@"
END
chmod +x "$folder/wstest"
"$folder/wstest" --autobahnversion >/dev/null
rm -r "$folder/downloads"
echo "$wanted" >"$folder/complete"
