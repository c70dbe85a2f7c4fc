// nginx.conf as text. Pure.
#pragma once

#include <string>
#include <string_view>

#include "model/instance.h"
#include "recipes/nginx/targets.h"

namespace muster::nginx {

// What a probe asks for: answered by nginx itself, whatever state the upstreams are in.
inline constexpr std::string_view kHealthPath = "/.muster/health";
// Rendered by the operator, included by nginx.conf.
inline constexpr std::string_view kUpstreamsFile = "conf/upstreams.conf";

bool SameHeader(std::string_view a, std::string_view b);

// Below the instance's folder.
std::string CertificatePath(size_t server);
std::string KeyPath(size_t server);
// Named by the route itself, so that another that comes or goes before it moves no files.
std::string StaticFolder(size_t server, const Route& route);

// `address` is the host's: nginx listens there and nowhere else. Holds the word {folder}.
std::string RenderConfig(const Settings& settings, const Upstreams& upstreams, std::string_view address);

// How the rewrite of a stripped prefix looks ("" for none), and what comes out for a path.
std::string StripPattern(const Route& route);
std::string StrippedPath(const Route& route, std::string_view path);

}  // namespace muster::nginx
