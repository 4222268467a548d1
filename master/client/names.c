#include "master/client/client.h"

const char *master_error_name(enum master_error error) {
  switch (error) {
  case MASTER_ERROR_NONE:
    return "none";
  case MASTER_ERROR_INVALID:
    return "invalid";
  case MASTER_ERROR_NOT_FOUND:
    return "not-found";
  case MASTER_ERROR_NOT_DIRECTORY:
    return "not-directory";
  case MASTER_ERROR_IS_DIRECTORY:
    return "is-directory";
  case MASTER_ERROR_EXISTS:
    return "exists";
  case MASTER_ERROR_NOT_EMPTY:
    return "not-empty";
  case MASTER_ERROR_ALREADY_COMPLETED:
    return "already-completed";
  case MASTER_ERROR_BLOCK_UNCOMMITTED:
    return "block-uncommitted";
  case MASTER_ERROR_VERSION_MISMATCH:
    return "version-mismatch";
  case MASTER_ERROR_NOT_PRIMARY:
    return "not-primary";
  case MASTER_ERROR_OVERLOADED:
    return "overloaded";
  case MASTER_ERROR_REFUSED:
    return "refused";
  case MASTER_ERROR_TIMEOUT:
    return "timeout";
  case MASTER_ERROR_CONNECTION_LOST:
    return "connection-lost";
  case MASTER_ERROR_UNAVAILABLE:
    return "unavailable";
  case MASTER_ERROR_OTHER:
    return "other";
  }
  return "other";
}

const char *node_role_name(enum node_role role) {
  switch (role) {
  case NODE_UNREACHABLE:
    return "unreachable";
  case NODE_STANDBY:
    return "standby";
  case NODE_CATCHING_UP:
    return "catching-up";
  case NODE_PRIMARY:
    return "primary";
  case NODE_STEPPING_DOWN:
    return "stepping-down";
  }
  return "unknown";
}

const char *quorum_role_name(enum quorum_role role) {
  switch (role) {
  case QUORUM_VOTER:
    return "voter";
  case QUORUM_STANDBY:
    return "standby";
  case QUORUM_SPARE:
    return "spare";
  }
  return "unknown";
}
