"""What ipvsadm says when the kernel refuses: by command and errno."""

from errno import EEXIST, EINVAL, ENOENT, EPERM, ESRCH

_SERVICE = {
    EEXIST: "Service already exists",
    ESRCH: "No such service",
    ENOENT: "Scheduler or persistence engine not found",
}
_SERVER = {
    ESRCH: "Service not defined",
    EEXIST: "Destination already exists",
    ENOENT: "No such destination",
    EINVAL: "Invalid operation.  Possibly wrong module version, address not unicast, ...",
}
_WORDS = {
    "add-service": _SERVICE,
    "edit-service": _SERVICE,
    "delete-service": _SERVICE,
    "zero": _SERVICE,
    "list": _SERVICE,
    "add-server": _SERVER,
    "edit-server": _SERVER,
    "delete-server": _SERVER,
    "start-daemon": {EEXIST: "Daemon has already run"},
    "stop-daemon": {ESRCH: "No daemon is running"},
}
MAY_NOT = "Permission denied (you must be root)"
NO_IPVS = (
    "Can't initialize ipvs: {reason}\n"
    "Are you sure that IP Virtual Server is built in the kernel or as module?"
)


def refusal(verb: str, errno: int, text: str) -> str:
    """``text`` is the C library's, for what has no words of ipvsadm's."""
    if errno == EPERM:
        return MAY_NOT
    return _WORDS.get(verb, {}).get(errno, text)
