from gancore_testing import NoSynchronization as NoSynchronization
from gancore_testing import bitwise_difference as bitwise_difference
from gancore_testing import build_host as build_host
from gancore_testing import conformance as conformance
from gancore_testing import gradients_elsewhere as gradients_elsewhere
from gancore_testing import host as host
from gancore_testing import host_of as host_of
from gancore_testing import host_registry as host_registry
