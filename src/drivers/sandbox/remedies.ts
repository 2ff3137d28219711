/** Commands that make a promise hold which does not. */
export const cgroupRemedy = "start the server as root, or with `systemd-run --user --scope -p Delegate=yes virga up`";
export const userRemedy = "start the server as root";
export const bubblewrapRemedy = "apt-get install bubblewrap, and start without `--sandbox process`";
