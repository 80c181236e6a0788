#!/bin/sh
# Wheel, source archive and Debian package of this checkout, in dist/.
#
# usage: systemd/deb/build.sh [FOLDER]
#
# The package carries the Python packages it was tested with (requirements.lock,
# hashes checked): Debian's own are older than what lvsha needs. It therefore fits
# one Python and one machine type, and says so in its dependencies.

set -eu
cd "$(dirname "$0")/../.."

python=.venv/bin/python
dist=${1:-dist}
tree=build/deb/tree
pip() { "$python" -m pip --disable-pip-version-check --no-input -q "$@"; }

rm -rf build/deb
mkdir -p "$dist" "$tree/DEBIAN"
"$python" -m hatchling build -t wheel -t sdist -d "$(realpath "$dist")" >build/deb/hatchling.log

version=$("$python" -c 'import lvsha; print(lvsha.__version__)')
wheel=$(echo "$dist/lvsha-$version"-py3-none-linux_*.whl)
minor=$("$python" -c 'import sys; print(sys.version_info.minor)')

# The program: a Python environment of its own, with nothing in it of this machine's. Whatever
# is executed as a program of its own (vrrpd, probe workers, the lab) finds what its parent found.
mkdir -p "$tree/opt/lvsha/bin" "$tree/usr/bin" "$tree/usr/sbin"
ln -s "/usr/bin/python3.$minor" "$tree/opt/lvsha/bin/python3"
printf 'home = /usr/bin\ninclude-system-site-packages = false\n' >"$tree/opt/lvsha/pyvenv.cfg"
lib=$tree/opt/lvsha/lib/python3.$minor/site-packages
pip install --target "$lib" --no-compile --only-binary :all: --require-hashes --no-deps -r requirements.lock
rm -rf "${lib:?}/bin"
pip install --target "$lib" --no-compile --no-deps --no-index "$wheel"
rm -rf "${lib:?}/bin"
script() {
    printf '#!/opt/lvsha/bin/python3 -Es\nimport sys\n\n%s\n' "$2" >"$tree/opt/lvsha/bin/$1"
    chmod 755 "$tree/opt/lvsha/bin/$1"
}
script lvsha 'from lvsha.cli.main import main

sys.exit(main())'
script lvsha-ipvsadm.py 'from lvsha.cli.ipvsadm import script

script()'
install -m 755 build/native/lvsha-ipvsadm "$tree/opt/lvsha/bin"
ln -s ../../opt/lvsha/bin/lvsha "$tree/usr/bin/lvsha"
ln -s ../../opt/lvsha/bin/lvsha-ipvsadm "$tree/usr/sbin/lvsha-ipvsadm"

# What systemd reads.
install -D -m 644 -t "$tree/lib/systemd/system" systemd/*.service systemd/*.target
for kind in sysusers.d tmpfiles.d modules-load.d sysctl.d; do
    install -D -m 644 "systemd/$kind/lvsha.conf" "$tree/usr/lib/$kind/lvsha.conf"
done
install -D -m 640 systemd/deb/lvsha.toml "$tree/etc/lvsha/lvsha.toml"

# What people read.
"$python" -m lvsha.cli.manual "$tree/usr/share/man/man1"
gzip -9n "$tree"/usr/share/man/man1/*
mkdir -p "$tree/usr/share/bash-completion/completions"
"$python" -m lvsha.cli.main completion bash >"$tree/usr/share/bash-completion/completions/lvsha"
doc=$tree/usr/share/doc/lvsha
mkdir -p "$doc"
cp -r LICENSE README.md docs/examples "$doc"
cp LICENSE "$doc/copyright"
gzip -9nc CHANGELOG.md >"$doc/changelog.gz"

architecture=$(dpkg --print-architecture)
size=$(du -sk --exclude=DEBIAN "$tree" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$size/" \
    -e "s/@PYTHON@/3.$minor/" -e "s/@NEXT_PYTHON@/3.$((minor + 1))/" systemd/deb/control >"$tree/DEBIAN/control"
printf '/etc/lvsha/lvsha.toml\n' >"$tree/DEBIAN/conffiles"
install -m 755 systemd/deb/postinst systemd/deb/prerm systemd/deb/postrm "$tree/DEBIAN"
(cd "$tree" && find etc lib opt usr -type f -exec md5sum {} +) >"$tree/DEBIAN/md5sums"

dpkg-deb --root-owner-group -Zxz --build "$tree" "$dist/lvsha_${version}_$architecture.deb" >/dev/null
printf '%s\n' "$wheel" "$dist/lvsha-$version.tar.gz" "$dist/lvsha_${version}_$architecture.deb"
