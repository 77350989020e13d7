/*
 * The guard's classes at the edges of each block, and the allow list.
 */
#include "storage/remote/address.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static struct address parsed(const char *text)
{
    struct address address = {0};
    cr_assert(address_parse(span_of_text(text), &address), "%s", text);
    return address;
}

Test(address, classes_at_the_edges_of_each_block)
{
    static const struct {
        const char *text;
        enum address_class class;
    } cases[] = {
        {"0.0.0.0", ADDRESS_UNSPECIFIED},
        {"0.255.255.255", ADDRESS_UNSPECIFIED},
        {"1.0.0.0", ADDRESS_PUBLIC},
        {"9.255.255.255", ADDRESS_PUBLIC},
        {"10.0.0.0", ADDRESS_PRIVATE},
        {"10.255.255.255", ADDRESS_PRIVATE},
        {"11.0.0.0", ADDRESS_PUBLIC},
        {"100.63.255.255", ADDRESS_PUBLIC},
        {"100.64.0.0", ADDRESS_SHARED},
        {"100.127.255.255", ADDRESS_SHARED},
        {"100.128.0.0", ADDRESS_PUBLIC},
        {"126.255.255.255", ADDRESS_PUBLIC},
        {"127.0.0.0", ADDRESS_LOOPBACK},
        {"127.0.0.1", ADDRESS_LOOPBACK},
        {"127.255.255.255", ADDRESS_LOOPBACK},
        {"128.0.0.0", ADDRESS_PUBLIC},
        {"169.253.255.255", ADDRESS_PUBLIC},
        {"169.254.0.0", ADDRESS_LINK_LOCAL},
        {"169.254.169.254", ADDRESS_LINK_LOCAL},
        {"169.254.255.255", ADDRESS_LINK_LOCAL},
        {"169.255.0.0", ADDRESS_PUBLIC},
        {"172.15.255.255", ADDRESS_PUBLIC},
        {"172.16.0.0", ADDRESS_PRIVATE},
        {"172.31.255.255", ADDRESS_PRIVATE},
        {"172.32.0.0", ADDRESS_PUBLIC},
        {"192.0.0.0", ADDRESS_RESERVED},
        {"192.0.0.192", ADDRESS_RESERVED}, /* another cloud's metadata */
        {"192.0.1.0", ADDRESS_PUBLIC},
        {"192.0.2.0", ADDRESS_DOCUMENTATION},
        {"192.0.3.0", ADDRESS_PUBLIC},
        {"192.88.99.1", ADDRESS_RESERVED},
        {"192.167.255.255", ADDRESS_PUBLIC},
        {"192.168.0.0", ADDRESS_PRIVATE},
        {"192.168.255.255", ADDRESS_PRIVATE},
        {"192.169.0.0", ADDRESS_PUBLIC},
        {"198.17.255.255", ADDRESS_PUBLIC},
        {"198.18.0.0", ADDRESS_RESERVED},
        {"198.19.255.255", ADDRESS_RESERVED},
        {"198.20.0.0", ADDRESS_PUBLIC},
        {"198.51.100.1", ADDRESS_DOCUMENTATION},
        {"203.0.113.255", ADDRESS_DOCUMENTATION},
        {"203.0.114.0", ADDRESS_PUBLIC},
        {"223.255.255.255", ADDRESS_PUBLIC},
        {"224.0.0.0", ADDRESS_MULTICAST},
        {"239.255.255.255", ADDRESS_MULTICAST},
        {"240.0.0.0", ADDRESS_RESERVED},
        {"255.255.255.254", ADDRESS_RESERVED},
        {"255.255.255.255", ADDRESS_BROADCAST},
        {"::", ADDRESS_UNSPECIFIED},
        {"::1", ADDRESS_LOOPBACK},
        {"::2", ADDRESS_TRANSLATED},
        {"::127.0.0.1", ADDRESS_TRANSLATED},
        {"::ffff:127.0.0.1", ADDRESS_TRANSLATED},
        {"::ffff:8.8.8.8", ADDRESS_TRANSLATED},
        {"::ffff:0:10.0.0.1", ADDRESS_TRANSLATED},
        {"64:ff9b::169.254.169.254", ADDRESS_TRANSLATED},
        {"64:ff9b:1::1", ADDRESS_TRANSLATED},
        {"64:ff9b:2::1", ADDRESS_RESERVED},
        {"100::1", ADDRESS_RESERVED},
        {"1fff:ffff::1", ADDRESS_RESERVED},
        {"2000::1", ADDRESS_PUBLIC},
        {"2001::1", ADDRESS_TRANSLATED},
        {"2001:0:ffff::1", ADDRESS_TRANSLATED},
        {"2001:20::1", ADDRESS_RESERVED},
        {"2001:1ff:ffff::1", ADDRESS_RESERVED},
        {"2001:200::1", ADDRESS_PUBLIC},
        {"2001:4860:4860::8888", ADDRESS_PUBLIC},
        {"2001:db7:ffff::1", ADDRESS_PUBLIC},
        {"2001:db8::1", ADDRESS_DOCUMENTATION},
        {"2001:db9::1", ADDRESS_PUBLIC},
        {"2002:7f00:1::", ADDRESS_TRANSLATED},
        {"2003::1", ADDRESS_PUBLIC},
        {"2606:4700::5efe:10.0.0.1", ADDRESS_TRANSLATED},
        {"2606:4700::200:5efe:10.0.0.1", ADDRESS_TRANSLATED},
        {"2606:4700::300:5efe:a00:1", ADDRESS_PUBLIC},
        {"3ffe:ffff::1", ADDRESS_PUBLIC},
        {"3fff:fff::1", ADDRESS_DOCUMENTATION},
        {"3fff:1000::1", ADDRESS_PUBLIC},
        {"4000::1", ADDRESS_RESERVED},
        {"5f00::1", ADDRESS_RESERVED},
        {"fbff::1", ADDRESS_RESERVED},
        {"fc00::1", ADDRESS_PRIVATE},
        {"fd00:ec2::254", ADDRESS_PRIVATE}, /* cloud metadata over IPv6 */
        {"fe00::1", ADDRESS_RESERVED},
        {"fe80::1", ADDRESS_LINK_LOCAL},
        {"febf::1", ADDRESS_LINK_LOCAL},
        {"fec0::1", ADDRESS_PRIVATE},
        {"ff02::1", ADDRESS_MULTICAST},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct address address = parsed(cases[i].text);
        cr_expect_eq(address_classify(&address), cases[i].class, "%s is %s", cases[i].text,
                     address_class_name(address_classify(&address)));
    }
}

Test(address, reads_literals_only)
{
    static const char *const refused[] = {
        "",
        "localhost",
        "127.1",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "2130706433",
        "127.0.0.01",
        "1.2.3.4.5",
        "1.2.3.256",
        "1.2.3.4 ",
        " 1.2.3.4",
        "[::1]",
        "::1%lo",
        "1.2.3.4:80",
        "::ffff::1",
        "12345::",
        "1.2.3.4/8",
        "::1/128",
        "::00000001",
        "1.2.3.-4",
        "1.2.3.+4",
        "a.b.c.d",
        ":::",
        ":",
        "1:2:3:4:5:6:7:8:9:a:b:c:d:e:f:1:2:3:4:5:6:7",
    };
    for (size_t i = 0; i < COUNT(refused); i++) {
        struct address address = {.port = 7};
        cr_expect_not(address_parse(span_of_text(refused[i]), &address), "'%s'", refused[i]);
        cr_expect_eq(address.port, 7, "'%s'", refused[i]);
    }
    struct address address;
    cr_expect_not(address_parse(span_of("1.2.3.4\0", 8), &address));
}

Test(address, formats_what_it_parsed)
{
    static const struct {
        const char *text;
        uint16_t port;
        const char *shown;
    } cases[] = {
        {"192.0.2.1", 0, "192.0.2.1"},
        {"192.0.2.1", 443, "192.0.2.1:443"},
        {"2001:DB8:0:0::1", 0, "2001:db8::1"},
        {"2001:db8::1", 65535, "[2001:db8::1]:65535"},
        {"::ffff:255.255.255.255", 65535, "[::ffff:255.255.255.255]:65535"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct address address = parsed(cases[i].text);
        address.port = cases[i].port;
        char shown[ADDRESS_TEXT_BYTES];
        cr_expect_eq(address_format(&address, shown), strlen(cases[i].shown));
        cr_expect_str_eq(shown, cases[i].shown);
    }
}

Test(address, takes_sockets_of_two_families)
{
    struct err err = {0};
    struct address address = {0};
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(8443)};
    ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(address_of_socket((const struct sockaddr *)&ipv4, sizeof ipv4, &address, &err),
                 ERR_OK);
    cr_expect(!address.is_ipv6 && address.port == 8443);
    cr_expect_eq(address_classify(&address), ADDRESS_LOOPBACK);

    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    ipv6.sin6_addr = in6addr_loopback;
    cr_assert_eq(address_of_socket((const struct sockaddr *)&ipv6, sizeof ipv6, &address, &err),
                 ERR_OK);
    cr_expect(address.is_ipv6 && address.port == 443);
    cr_expect_eq(address_classify(&address), ADDRESS_LOOPBACK);

    struct sockaddr_un local = {.sun_family = AF_UNIX};
    cr_expect_eq(address_of_socket((const struct sockaddr *)&local, sizeof local, &address, &err),
                 ERR_UNSUPPORTED);
    cr_expect_eq(address_of_socket((const struct sockaddr *)&ipv6, sizeof ipv4, &address, &err),
                 ERR_UNSUPPORTED);
}

Test(address, allow_list_names_addresses_and_ports)
{
    static const struct {
        const char *list;
        const char *address;
        uint16_t port;
        bool allowed;
    } cases[] = {
        {"", "10.0.0.1", 443, false},
        {"  ", "10.0.0.1", 443, false},
        {"10.0.0.1", "10.0.0.1", 443, true},
        {"10.0.0.1", "10.0.0.2", 443, false},
        {"10.0.0.1:443", "10.0.0.1", 443, true},
        {"10.0.0.1:443", "10.0.0.1", 80, false},
        {"10.0.0.0/8", "10.255.0.1", 1, true},
        {"10.0.0.0/8", "11.0.0.1", 1, false},
        {"10.0.0.0/9", "10.127.255.255", 1, true},
        {"10.0.0.0/9", "10.128.0.0", 1, false},
        {"10.0.0.0/31", "10.0.0.1", 1, true},
        {"10.0.0.0/31", "10.0.0.2", 1, false},
        {"0.0.0.0/0", "169.254.169.254", 80, true},
        {"0.0.0.0/0", "::1", 80, false},
        {"::/0", "::1", 80, true},
        {"::/0", "127.0.0.1", 80, false},
        {"127.0.0.0/8", "::ffff:127.0.0.1", 80, false},
        {"127.0.0.0/8:9000", "127.9.9.9", 9000, true},
        {"127.0.0.0/8:9000", "127.9.9.9", 9001, false},
        {"::1", "::1", 80, true},
        {"[::1]", "::1", 80, true},
        {"[::1]:80", "::1", 80, true},
        {"[::1]:80", "::1", 81, false},
        {"[fd00::/8]:443", "fdff::7", 443, true},
        {"[fd00::/8]:443", "fdff::7", 444, false},
        {"fd00::/8", "fc00::7", 443, false},
        {"192.168.1.1 ,\t10.0.0.0/8:80,  ::1", "10.1.1.1", 80, true},
        {"192.168.1.1 ,\t10.0.0.0/8:80,  ::1", "10.1.1.1", 81, false},
        {"192.168.1.1 ,\t10.0.0.0/8:80,  ::1", "::1", 1, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        CLEANUP(address_allow_free) struct address_allow *allow = NULL;
        cr_assert_eq(address_allow_parse(span_of_text(cases[i].list), &allow, &err), ERR_OK,
                     "%s: %s", cases[i].list, err.msg);
        struct address address = parsed(cases[i].address);
        address.port = cases[i].port;
        cr_expect_eq(address_allow_has(allow, &address), cases[i].allowed, "'%s' %s port %d",
                     cases[i].list, cases[i].address, cases[i].port);
    }
}

Test(address, allow_list_says_what_is_wrong)
{
    static const struct {
        const char *list;
        const char *says;
    } cases[] = {
        {",", "empty"},
        {"10.0.0.1,", "empty"},
        {"10.0.0.1,,10.0.0.2", "empty"},
        {"localhost", "'localhost' has no IPv4 or IPv6 address"},
        {"10.0.0", "'10.0.0' has no"},
        {"010.0.0.1", "has no"},
        {"10.0.0.1, 10.0.0.256", "'10.0.0.256' has no"},
        {"10.0.0.0/33", "0 to 32"},
        {"10.0.0.0/", "0 to 32"},
        {"10.0.0.0/-1", "0 to 32"},
        {"10.0.0.0/8/8", "0 to 32"},
        {"10.0.0.0/ 8", "0 to 32"},
        {"fd00::/129", "0 to 128"},
        {"10.1.0.0/8", "bits set beyond"},
        {"fd00::1/64", "bits set beyond"},
        {"10.0.0.1:", "port"},
        {"10.0.0.1:0", "port"},
        {"10.0.0.1:65536", "port"},
        {"10.0.0.1:-1", "port"},
        {"10.0.0.1:http", "port"},
        {"[::1", "not closed"},
        {"[::1]80", "after its bracket"},
        {"[::1]:", "port"},
        {"[10.0.0.1]:80", "brackets"},
        {"::1:80:zz", "has no"},
        {"fe80::1%eth0", "has no"},
        {"10.0.0.0/8:80:90", "0 to 32"},
        {"https://10.0.0.1", "has no"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        struct address_allow *allow = NULL;
        cr_expect_eq(address_allow_parse(span_of_text(cases[i].list), &allow, &err), ERR_INVALID,
                     "%s", cases[i].list);
        cr_expect_null(allow, "%s", cases[i].list);
        cr_expect(strstr(err.msg, cases[i].says) != NULL, "'%s' says: %s", cases[i].list, err.msg);
    }
}

Test(address, allow_list_has_limits)
{
    static char list[ADDRESS_ALLOW_BYTES_MAX + 2];
    size_t size = 0;
    for (int i = 0; i < ADDRESS_ALLOW_RULES_MAX; i++) {
        size += (size_t)snprintf(list + size, sizeof list - size, "%s10.0.0.%d", i > 0 ? "," : "",
                                 i % 256);
    }
    struct err err = {0};
    struct address_allow *allow = NULL;
    cr_assert_eq(address_allow_parse(span_of(list, size), &allow, &err), ERR_OK);
    address_allow_free(&allow);
    memcpy(list + size, ",::1", 4);
    cr_expect_eq(address_allow_parse(span_of(list, size + 4), &allow, &err), ERR_TOO_LARGE);
    memset(list, ' ', sizeof list);
    cr_expect_eq(address_allow_parse(span_of(list, ADDRESS_ALLOW_BYTES_MAX + 1), &allow, &err),
                 ERR_TOO_LARGE);
    cr_expect_null(allow);
}

Test(address, public_needs_tls_and_the_rest_a_rule)
{
    static const struct {
        const char *address;
        bool secure;
        enum err_code code;
    } cases[] = {
        {"8.8.8.8", true, ERR_OK},          {"8.8.8.8", false, ERR_FORBIDDEN},
        {"9.9.9.9", false, ERR_OK},         {"10.1.0.1", true, ERR_OK},
        {"10.1.0.1", false, ERR_OK},        {"10.2.0.1", true, ERR_FORBIDDEN},
        {"10.2.0.1", false, ERR_FORBIDDEN}, {"::1", true, ERR_FORBIDDEN},
        {"2606:4700::1", true, ERR_OK},     {"2606:4700::1", false, ERR_FORBIDDEN},
    };
    struct err err = {0};
    CLEANUP(address_allow_free) struct address_allow *allow = NULL;
    cr_assert_eq(address_allow_parse(span_of_text("10.1.0.0/16,9.9.9.9"), &allow, &err), ERR_OK);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct address address = parsed(cases[i].address);
        err_clear(&err);
        cr_expect_eq(address_check(allow, &address, cases[i].secure, &err), cases[i].code, "%s: %s",
                     cases[i].address, err.msg);
        if (cases[i].code != ERR_OK) {
            cr_expect(strstr(err.msg, "outgoing-allow") != NULL, "%s", err.msg);
            cr_expect(strstr(err.msg, cases[i].address) == NULL, "%s", err.msg);
        }
    }
    struct address address = parsed("127.0.0.1");
    cr_expect_eq(address_check(NULL, &address, true, &err), ERR_FORBIDDEN);
}
