/* lvsha-ipvsadm -Ln, without a start of Python, which costs more than the whole list (docs/decisions/0125).
 *
 * Whatever is not the plain list is done by lvsha-ipvsadm.py beside this program: other words, rare kinds of
 * service, and all that goes wrong, because it is Python that tells it. So nothing is printed before all
 * is known. Where lvsha was built without a C compiler there is only the Python program, with the same answers.
 *
 * Facts of the kernel's interface: lvsha/wire/genl_ipvs.py.
 */

#include <arpa/inet.h>
#include <limits.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { GET_SERVICE = 4, GET_DEST = 8, GET_INFO = 15 };
enum { SERVICE = 1, DEST = 2 };
enum { S_AF = 1, S_PROTOCOL, S_ADDR, S_PORT, S_FWMARK, S_SCHED, S_FLAGS, S_TIMEOUT, S_NETMASK, S_PE = 11 };
enum { D_ADDR = 1, D_PORT, D_METHOD, D_WEIGHT, D_ACTIVE = 7, D_INACTIVE, D_FAMILY = 11 };
enum { I_VERSION = 1, I_SIZE };
enum { PERSISTENT = 0x01, ONE_PACKET = 0x04, SCHEDULER_FLAGS = 0x38 };
enum { TYPES = 16, DEADLINE_S = 2 };

struct service {
    uint32_t key[8]; /* mark, family, protocol, address (4 words), port: in this order they are sorted */
    char scheduler[16];
    uint32_t flags, timeout;
    size_t first, servers; /* which of the destinations are its */
};

struct destination {
    uint32_t key[5]; /* address, port */
    uint32_t weight, active, inactive;
    uint8_t family, method;
};

static char **arguments;

/* -- the way out ----------------------------------------------------------------- */

static void python(void)
{
    char path[PATH_MAX + 4];

    /* Where this program is, which may be called by a link. /proc would tell, but a chroot has none. */
    if (realpath((char *)getauxval(AT_EXECFN), path)) {
        strcat(path, ".py");
        setenv("LVSHA_IPVSADM_NAME", arguments[0], 1); /* a script is told its path instead */
        execv(path, arguments);
    }
    perror(path);
    exit(2);
}

/* -- memory that grows ----------------------------------------------------------- */

struct heap {
    char *data;
    size_t used, room;
};

static void *more(struct heap *heap, size_t size)
{
    if (heap->used + size > heap->room) {
        heap->room = 2 * heap->room + size + 4096;
        heap->data = realloc(heap->data, heap->room);
        if (!heap->data)
            python();
    }
    heap->used += size;
    return heap->data + heap->used - size;
}

static struct heap services, destinations;

/* -- attributes ------------------------------------------------------------------ */

struct attribute {
    const unsigned char *value; /* NULL: not there */
    size_t size;
};

static void read_attributes(const unsigned char *at, size_t left, struct attribute found[TYPES])
{
    memset(found, 0, TYPES * sizeof *found);
    while (left >= NLA_HDRLEN) {
        struct nlattr header;
        memcpy(&header, at, sizeof header);
        if (header.nla_len < NLA_HDRLEN || header.nla_len > left)
            python();
        unsigned type = header.nla_type & NLA_TYPE_MASK;
        if (type < TYPES)
            found[type] = (struct attribute){at + NLA_HDRLEN, header.nla_len - NLA_HDRLEN};
        size_t step = NLA_ALIGN(header.nla_len);
        if (step > left)
            break;
        at += step, left -= step;
    }
}

static uint32_t number(struct attribute attribute)
{
    uint32_t wide;
    uint16_t narrow;

    switch (attribute.size) {
    case sizeof wide:
        memcpy(&wide, attribute.value, sizeof wide);
        return wide;
    case sizeof narrow:
        memcpy(&narrow, attribute.value, sizeof narrow);
        return narrow;
    }
    python();
    return 0;
}

/* Address and port as ipvsadm compares them. An IPv4 address is the first word of four. */
static void read_endpoint(struct attribute address, struct attribute port, uint32_t key[5])
{
    if (address.size != 4 * sizeof *key)
        python();
    memcpy(key, address.value, address.size);
    for (int i = 0; i < 4; i++)
        key[i] = ntohl(key[i]);
    key[4] = ntohs(number(port));
}

static void pack_address(const uint32_t key[4], uint32_t packed[4])
{
    for (int i = 0; i < 4; i++)
        packed[i] = htonl(key[i]);
}

/* -- questions ------------------------------------------------------------------- */

static const char *const methods[] = {"Masq", "Local", "Tunnel", "Route", "Bypass"};
enum { METHODS = sizeof methods / sizeof *methods };

typedef void taker(struct attribute attributes[TYPES]);

static int netlink;
static uint16_t family;

/* Ask, and have each answer taken. `flags` NLM_F_DUMP: as many as there are, else one. */
static void ask(int type, int command, int flags, const void *words, size_t size, taker *take)
{
    static unsigned sequence;
    static _Alignas(NLMSG_ALIGNTO) unsigned char buffer[1 << 16];
    struct {
        struct nlmsghdr header;
        struct genlmsghdr generic;
        unsigned char words[128];
    } request = {
        {NLMSG_LENGTH(GENL_HDRLEN + size), type, NLM_F_REQUEST | flags, ++sequence, 0},
        {command, 1, 0},
        {0},
    };

    memcpy(request.words, words, size);
    if (send(netlink, &request, request.header.nlmsg_len, 0) < 0)
        python();
    for (;;) {
        ssize_t length = recv(netlink, buffer, sizeof buffer, MSG_TRUNC);
        if (length <= 0 || length > (ssize_t)sizeof buffer)
            python();
        struct nlmsghdr *answer = (struct nlmsghdr *)buffer;
        for (; NLMSG_OK(answer, length); answer = NLMSG_NEXT(answer, length)) {
            struct attribute found[TYPES];
            if (answer->nlmsg_seq != sequence)
                continue;
            if (answer->nlmsg_type == NLMSG_DONE)
                return;
            if (answer->nlmsg_type == NLMSG_ERROR || answer->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN))
                python();
            read_attributes(
                (unsigned char *)NLMSG_DATA(answer) + GENL_HDRLEN,
                answer->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN),
                found);
            take(found);
            if (!(flags & NLM_F_DUMP))
                return;
        }
    }
}

static size_t put(unsigned char *at, int type, const void *value, size_t size)
{
    struct nlattr header = {NLA_HDRLEN + size, type};

    memcpy(at, &header, sizeof header);
    memcpy(at + NLA_HDRLEN, value, size);
    return NLA_ALIGN(header.nla_len);
}

static void take_family(struct attribute found[TYPES])
{
    family = number(found[CTRL_ATTR_FAMILY_ID]);
}

static uint32_t version, table_size;

static void take_info(struct attribute found[TYPES])
{
    version = number(found[I_VERSION]);
    table_size = number(found[I_SIZE]);
}

static void take_service(struct attribute found[TYPES])
{
    struct attribute in[TYPES];
    struct service *service = more(&services, sizeof *service);

    read_attributes(found[SERVICE].value, found[SERVICE].size, in);
    memset(service, 0, sizeof *service);
    service->key[1] = number(in[S_AF]);
    if (in[S_FWMARK].value) {
        service->key[0] = number(in[S_FWMARK]);
    } else {
        service->key[2] = number(in[S_PROTOCOL]);
        read_endpoint(in[S_ADDR], in[S_PORT], service->key + 3);
    }
    if (!in[S_SCHED].size || in[S_SCHED].size > sizeof service->scheduler || in[S_FLAGS].size != 8)
        python();
    memcpy(service->scheduler, in[S_SCHED].value, in[S_SCHED].size - 1);
    memcpy(&service->flags, in[S_FLAGS].value, sizeof service->flags);
    service->timeout = number(in[S_TIMEOUT]);
    uint32_t whole = service->key[1] == AF_INET6 ? 128 : 0xffffffff;
    if (service->flags & SCHEDULER_FLAGS || in[S_PE].value || number(in[S_NETMASK]) != whole)
        python();
}

static void take_destination(struct attribute found[TYPES])
{
    struct attribute in[TYPES];
    struct destination *destination = more(&destinations, sizeof *destination);

    read_attributes(found[DEST].value, found[DEST].size, in);
    read_endpoint(in[D_ADDR], in[D_PORT], destination->key);
    destination->family = number(in[D_FAMILY]);
    destination->method = number(in[D_METHOD]) & 7;
    if (destination->method >= METHODS)
        python();
    destination->weight = number(in[D_WEIGHT]);
    destination->active = number(in[D_ACTIVE]);
    destination->inactive = number(in[D_INACTIVE]);
}

static void ask_destinations(struct service *service)
{
    uint32_t address[4];
    unsigned char words[128], *at = words + NLA_HDRLEN;
    uint16_t number = service->key[1], port = htons(service->key[7]);

    at += put(at, S_AF, &number, sizeof number);
    if (service->key[0]) {
        at += put(at, S_FWMARK, &service->key[0], sizeof service->key[0]);
    } else {
        number = service->key[2];
        at += put(at, S_PROTOCOL, &number, sizeof number);
        pack_address(service->key + 3, address);
        at += put(at, S_ADDR, address, sizeof address);
        at += put(at, S_PORT, &port, sizeof port);
    }
    struct nlattr nest = {at - words, SERVICE};
    memcpy(words, &nest, sizeof nest);
    service->first = destinations.used / sizeof(struct destination);
    ask(family, GET_DEST, NLM_F_DUMP, words, at - words, take_destination);
    service->servers = destinations.used / sizeof(struct destination) - service->first;
}

/* -- the list -------------------------------------------------------------------- */

/* As ipvsadm compares: by the sign of a difference in 32 bits, which is no order of far apart words. Such are
 * sorted as the C library's qsort() happens to sort them; so is ipvsadm's list. */
static int compare(const uint32_t *one, const uint32_t *other, int words)
{
    for (int i = 0; i < words; i++)
        if (one[i] != other[i])
            return (int32_t)(one[i] - other[i]);
    return 0;
}

static int compare_services(const void *one, const void *other)
{
    return compare(((struct service *)one)->key, ((struct service *)other)->key, 8);
}

static int compare_destinations(const void *one, const void *other)
{
    return compare(((struct destination *)one)->key, ((struct destination *)other)->key, 5);
}

static const char *endpoint(int family, const uint32_t key[5])
{
    static char host[INET6_ADDRSTRLEN], whole[sizeof host + 9];
    uint32_t packed[4];

    pack_address(key, packed);
    if (!inet_ntop(family, packed, host, sizeof host))
        python();
    snprintf(whole, sizeof whole, family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, key[4]);
    return whole;
}

static void print_service(const struct service *service)
{
    uint32_t protocol = service->key[2];

    if (service->key[0])
        printf("FWM  %d%s", (int32_t)service->key[0], service->key[1] == AF_INET6 ? " IPv6" : "");
    else
        printf(
            "%-4s %s",
            protocol == IPPROTO_TCP    ? "TCP"
            : protocol == IPPROTO_UDP  ? "UDP"
            : protocol == IPPROTO_SCTP ? "SCTP"
                                       : "IP",
            endpoint(service->key[1], service->key + 3));
    printf(" %s", service->scheduler);
    if (service->flags & PERSISTENT)
        printf(" persistent %u", service->timeout);
    puts(service->flags & ONE_PACKET ? " ops" : "");
}

static void print_destination(const struct destination *destination)
{
    printf(
        "  -> %-28s %-7s %-6u %-10u %-10u\n", endpoint(destination->family, destination->key),
        methods[destination->method], destination->weight, destination->active, destination->inactive);
}

static void list(void)
{
    static char buffer[1 << 15];
    unsigned char name[16];
    size_t size = put(name, CTRL_ATTR_FAMILY_NAME, "IPVS", sizeof "IPVS");
    struct timeval deadline = {DEADLINE_S, 0};

    netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
    if (netlink <= STDERR_FILENO || setsockopt(netlink, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline))
        python();
    ask(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0, name, size, take_family);
    ask(family, GET_INFO, 0, "", 0, take_info);
    ask(family, GET_SERVICE, NLM_F_DUMP, "", 0, take_service);
    struct service *first = (struct service *)services.data, *end = first + services.used / sizeof *first;
    if (first != end)
        qsort(first, end - first, sizeof *first, compare_services);
    for (struct service *service = first; service != end; service++)
        ask_destinations(service);

    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    printf(
        "IP Virtual Server version %u.%u.%u (size=%u)\n"
        "Prot LocalAddress:Port Scheduler Flags\n"
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n",
        version >> 16 & 255, version >> 8 & 255, version & 255, table_size);
    for (struct service *service = first; service != end; service++) {
        print_service(service);
        struct destination *destination = (struct destination *)destinations.data + service->first;
        if (service->servers)
            qsort(destination, service->servers, sizeof *destination, compare_destinations);
        for (size_t left = service->servers; left; left--)
            print_destination(destination++);
    }
    if (fflush(stdout) || ferror(stdout))
        python();
}

static int is(const char *word, const char *one, const char *other)
{
    return !strcmp(word, one) || !strcmp(word, other);
}

int main(int count, char **words)
{
    arguments = words;
    if ((count == 2 && is(words[1], "-Ln", "-ln"))
        || (count == 3 && (is(words[1], "-L", "-l") || !strcmp(words[1], "--list"))
            && is(words[2], "-n", "--numeric")))
        list();
    else
        python();
    return 0;
}
