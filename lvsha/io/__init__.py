"""The shell: sockets, the kernel, processes. The only place that does what machines ask for."""
