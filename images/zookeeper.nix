# ZooKeeper: a server of a quorum or alone, from the environment.
{ image, jre-zookeeper, shell-tools, zookeeper }:
image {
  name = "zookeeper";
  tag = zookeeper.release;
  title = "Apache ZooKeeper";
  license = "Apache-2.0";
  user = "zookeeper";
  uid = 2181;
  contents = [ shell-tools ];
  links = {
    "/opt/zookeeper" = zookeeper;
    "/opt/java" = jre-zookeeper;
  };
  folders = [ "/var/lib/zookeeper" ];
  config = {
    Entrypoint = [ "/opt/zookeeper/bin/zookeeper-entrypoint" ];
    Env = [ "PATH=/opt/zookeeper/bin:/opt/java/bin:/bin" ];
    WorkingDir = "/var/lib/zookeeper";
    Volumes."/var/lib/zookeeper" = { };
    ExposedPorts = {
      "2181/tcp" = { };
      "2888/tcp" = { };
      "3888/tcp" = { };
      "7000/tcp" = { };
      "8080/tcp" = { };
    };
  };
}
