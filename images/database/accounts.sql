-- Nobody has a password: the kernel tells the server which OS user is at the other end of the socket. The plugin that
-- asks it is auth_socket in MySQL and unix_socket in MariaDB; bake puts its name here.
-- The driver's account, the only one that comes by TCP, is made at start, and only when there is a secret.

ALTER USER root@localhost IDENTIFIED WITH $plugin AS 'mysql';
CREATE USER kamailio@localhost IDENTIFIED WITH $plugin;
GRANT SELECT, INSERT, UPDATE, DELETE ON `kamailio%`.* TO kamailio@localhost;
