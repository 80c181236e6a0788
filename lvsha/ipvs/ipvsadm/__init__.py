"""What ipvsadm 1.31 reads and prints, as pure functions; who runs it is ``lvsha.cli.ipvsadm``."""
