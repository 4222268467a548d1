/* tls_reason.c: why a connection did not come about, in words that name the file and the cure. */
#include <openssl/err.h>
#include <stdio.h>
#include <time.h>

#include "master/rpc/tls_internal.h"

const char *tls_fault_name(enum tls_fault fault) {
  static const char *const names[TLS_FAULTS] = {[TLS_FAULT_NONE] = "none",
                                                [TLS_FAULT_PLAIN] = "plain",
                                                [TLS_FAULT_NO_CERTIFICATE] = "no-certificate",
                                                [TLS_FAULT_AUTHORITY] = "authority",
                                                [TLS_FAULT_TIME] = "time",
                                                [TLS_FAULT_ROLE] = "role",
                                                [TLS_FAULT_REFUSED] = "refused",
                                                [TLS_FAULT_CUT] = "cut",
                                                [TLS_FAULT_OTHER] = "other"};
  return names[fault];
}

void tls_name_time(int64_t seconds, char *text, size_t size) {
  const time_t time = (time_t)seconds;
  struct tm utc;
  if (!gmtime_r(&time, &utc) || strftime(text, size, "%Y-%m-%d %H:%M:%S UTC", &utc) == 0)
    snprintf(text, size, "second %lld", (long long)seconds);
}

const char *tls_library_reason(char *text, size_t size) {
  const unsigned long number = ERR_get_error();
  const char *reason = number ? ERR_reason_error_string(number) : NULL;
  snprintf(text, size, "%s", reason ? reason : "nothing is known of the reason");
  ERR_clear_error();
  return text;
}

/* ---- theirs ---- */

void tls_explain_plain(struct tls_channel *channel) {
  channel->fault = TLS_FAULT_PLAIN;
  snprintf(
      channel->reason, sizeof channel->reason, "%s",
      channel->side == TLS_ACCEPTS
          ? "does not speak TLS, without which nobody may connect here: give it --tls-certificate, --tls-key and "
            "--tls-authority"
          : "does not speak TLS: start it with --tls-certificate, --tls-key and --tls-authority, or connect "
            "without");
}

static void describe(X509 *certificate, char *text, size_t size) {
  if (certificate)
    X509_NAME_oneline(X509_get_subject_name(certificate), text, (int)size);
  else
    snprintf(text, size, "of nobody");
}

static void explain_time(struct tls_channel *channel, X509 *certificate, const char *subject, bool early) {
  char limit[32], now[32];
  tls_name_time(tls_seconds_of(early ? X509_get0_notBefore(certificate) : X509_get0_notAfter(certificate)),
                limit, sizeof limit);
  tls_name_time(X509_VERIFY_PARAM_get_time(SSL_get0_param(channel->ssl)), now, sizeof now);
  channel->fault = TLS_FAULT_TIME;
  snprintf(channel->reason, sizeof channel->reason,
           "presents a certificate (%s) that is valid %s %s, and it is %s by this machine's clock: renew the "
           "certificate, or set the clock that is wrong",
           subject, early ? "from" : "until", limit, now);
}

void tls_explain_certificate(struct tls_channel *channel, X509 *certificate, int number) {
  char subject[120], roles[80];
  describe(certificate, subject, sizeof subject);
  switch (number) {
  case X509_V_ERR_CERT_NOT_YET_VALID:
  case X509_V_ERR_CERT_HAS_EXPIRED:
    explain_time(channel, certificate, subject, number == X509_V_ERR_CERT_NOT_YET_VALID);
    break;
  case X509_V_ERR_APPLICATION_VERIFICATION:
    tls_name_roles(channel->roles, roles, sizeof roles);
    channel->fault = TLS_FAULT_ROLE;
    snprintf(
        channel->reason, sizeof channel->reason,
        "presents a certificate (%s) of another role: its subject alternative names must hold DNS:%s here",
        subject, roles);
    break;
  default:
    channel->fault = TLS_FAULT_AUTHORITY;
    snprintf(channel->reason, sizeof channel->reason,
             "presents a certificate (%s) that the authority in %.160s does not vouch for: %s", subject,
             channel->context->authority, X509_verify_cert_error_string(number));
  }
}

/* ---- ours ---- */

/* What an alert about our certificate means; NULL: it is about something else. */
static const char *meaning_of(int alert) {
  switch (alert) {
  case SSL_AD_CERTIFICATE_EXPIRED:
    return "it has expired, by the clock there: renew it, or set the clock that is wrong";
  case SSL_AD_BAD_CERTIFICATE:
    return "it is not valid yet, by the clock there, or damaged: set the clock that is wrong, or make it anew";
  case SSL_AD_UNKNOWN_CA:
    return "it does not come from the authority that is known there: use certificates of one authority";
  case SSL_AD_CERTIFICATE_REQUIRED:
    return "none arrived there";
  case SSL_AD_UNSUPPORTED_CERTIFICATE:
    return "its extended key usage must allow both serverAuth and clientAuth, or say nothing";
  case SSL_AD_HANDSHAKE_FAILURE:
  case SSL_AD_ACCESS_DENIED:
    return "it is of another role than who connects there must have (its subject alternative names)";
  case SSL_AD_CERTIFICATE_REVOKED:
  case SSL_AD_CERTIFICATE_UNKNOWN:
  case SSL_AD_DECRYPT_ERROR:
    return "it will not do there; the log there tells why";
  default:
    return NULL;
  }
}

static void explain_alert(struct tls_channel *channel, int alert) {
  const char *meaning = meaning_of(alert);
  channel->fault = TLS_FAULT_REFUSED;
  if (meaning)
    snprintf(channel->reason, sizeof channel->reason, "refuses our certificate: %s", meaning);
  else if (alert == SSL_AD_PROTOCOL_VERSION)
    snprintf(channel->reason, sizeof channel->reason, "speaks another version of TLS than 1.3");
  else
    snprintf(channel->reason, sizeof channel->reason, "refuses the connection: TLS alert %d (%s)", alert,
             SSL_alert_desc_string_long(alert));
}

void tls_explain(struct tls_channel *channel) {
  if (channel->fault != TLS_FAULT_NONE) { /* look_at() has told */
    ERR_clear_error();
    return;
  }
  const unsigned long number = ERR_peek_last_error();
  const int reason = ERR_GET_LIB(number) == ERR_LIB_SSL ? ERR_GET_REASON(number) : 0;
  if (reason > SSL_AD_REASON_OFFSET) {
    explain_alert(channel, reason - SSL_AD_REASON_OFFSET);
  } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    channel->fault = TLS_FAULT_NO_CERTIFICATE;
    snprintf(channel->reason, sizeof channel->reason,
             "presents no certificate: it needs one of the authority in %.160s", channel->context->authority);
  } else {
    char text[160];
    channel->fault = TLS_FAULT_OTHER;
    snprintf(channel->reason, sizeof channel->reason, "breaks the rules of TLS 1.3: %s",
             tls_library_reason(text, sizeof text));
  }
  ERR_clear_error();
}
