/* What can be held without a kernel that has sch_netem; with one, link_test measures it. */
#include <criterion/criterion.h>
#include <linux/pkt_sched.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "nemesis/link/netem.h"
#include "nemesis/test/inside.h"

static struct nlattr *options_of(struct nl_msg *message) {
  return nlmsg_find_attr(nlmsg_hdr(message), sizeof(struct tcmsg), TCA_OPTIONS);
}

Test(netem, a_request_says_all_that_the_shape_does) {
  const struct link_shape shapes[] = {
      {.limit = 1},
      {.delay_ns = 123456789, .jitter_ns = 987654, .limit = 77},
      {.loss = 0.01, .duplicate = 0.25, .corrupt = 1, .limit = 5},
      {.delay_ns = 60 * NS_PER_S, .reorder = 0.5, .rate_bytes_per_s = 12345, .limit = UINT32_MAX},
      {.rate_bytes_per_s = UINT32_MAX, .limit = 1},
      {.rate_bytes_per_s = UINT64_C(1) << 40, .limit = 1},
  };
  for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
    struct link_shape read;
    struct nl_msg *message = netem_request(7, TC_H_MAKE(1u << 16, 3), &shapes[i]);
    const struct tcmsg *subject = nlmsg_data(nlmsg_hdr(message));
    cr_assert(subject->tcm_ifindex == 7 && subject->tcm_parent == 0x10003 && subject->tcm_handle == 0x30000);
    cr_assert_str_eq(nla_get_string(nlmsg_find_attr(nlmsg_hdr(message), sizeof *subject, TCA_KIND)), "netem");
    cr_assert_eq(netem_parse(options_of(message), &read), 0);
    cr_assert(read.delay_ns == shapes[i].delay_ns && read.jitter_ns == shapes[i].jitter_ns &&
                  read.limit == shapes[i].limit && read.rate_bytes_per_s == shapes[i].rate_bytes_per_s,
              "shape %zu", i);
    cr_assert_float_eq(read.loss, shapes[i].loss, 1e-9);
    cr_assert_float_eq(read.duplicate, shapes[i].duplicate, 1e-9);
    cr_assert_float_eq(read.reorder, shapes[i].reorder, 1e-9);
    cr_assert_float_eq(read.corrupt, shapes[i].corrupt, 1e-9);
    nlmsg_free(message);
  }
}

Test(netem, numbers_stand_where_the_kernel_looks_for_them) {
  const struct link_shape shape = {.delay_ns = 5, .loss = 1, .duplicate = 0.5, .reorder = 0.25};
  struct nl_msg *message = netem_request(1, TC_H_MAKE(1u << 16, 2), &shape);
  const struct tc_netem_qopt *basics = nla_data(options_of(message));
  cr_assert(basics->loss == UINT32_MAX && basics->duplicate == 0x80000000u && basics->gap == 1);
  cr_assert(basics->limit == LINK_LIMIT && basics->latency == 0 && basics->jitter == 0);
  nlmsg_free(message);
}

Test(netem, options_that_are_cut_short_are_refused) {
  struct link_shape shape;
  unsigned char bytes[sizeof(struct nlattr) + sizeof(struct tc_netem_qopt) - 1] = {0};
  struct nlattr *options = (struct nlattr *)(void *)bytes;
  options->nla_len = sizeof bytes;
  cr_assert_eq(netem_parse(options, &shape), ERR_CORRUPT);
}

static int supported(void *context) {
  (void)context;
  struct error error = {0};
  const int status = netem_supported(&error);
  if (status == 0)
    return 0;
  CHECK(status == ERR_UNSUPPORTED, "%s", error.message);
  CHECK(strstr(error.message, "the kernel has no") && strstr(error.message, "modprobe"), "%s", error.message);
  return 0;
}

Test(netem, a_kernel_without_it_is_told_with_the_cure) {
  cr_assert_eq(run_inside(USER_ORDINARY, supported, NULL), 0);
}
