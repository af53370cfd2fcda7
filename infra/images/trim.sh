#!/bin/sh
# Leave a root file system with Python and the named programs, and make the user that runs it.
#
#   trim.sh PROGRAM…      names as `find -name` takes them
#
# dpkg's list of packages stays: scanners read it, and nothing here could run it.
set -eu
echo 'ostinato:x:65532:65532::/tmp:/usr/sbin/nologin' >>/etc/passwd
echo 'ostinato:x:65532:' >>/etc/group

rm -rf /root /var/cache /var/lib/apt /var/log /usr/lib/apt /usr/share/doc /usr/share/man /usr/share/perl* \
  /usr/lib/*/perl* /usr/share/locale /etc/apt /trim.sh
for python in /usr/local/lib/python3*; do
  rm -rf "$python/ensurepip" "$python/idlelib" "$python/test" "$python/turtledemo" \
    "$python"/site-packages/pip* "$python"/site-packages/setuptools* "$python"/site-packages/wheel*
done
find /usr/local/bin \( -type f -o -type l \) ! -name 'python3*' -delete
rm -f /usr/local/bin/python3*-config
ln -s python3 /usr/local/bin/python

# The last to go is find itself.
set -- "$@" __none__
keep=""
for program in "$@"; do keep="$keep ! -name $program"; done
set -f
# shellcheck disable=SC2086 # a list of words
find /usr/bin /usr/sbin \( -type f -o -type l \) $keep -delete
