// The command that takes up what was set up by hand: adopt.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <regex>

#include "api/json.h"
#include "base/files.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/table.h"
#include "net/loop.h"
#include "recipes/recipe.h"

namespace muster::cli {
namespace {

constexpr size_t kPasswordMostBytes = 4096;
constexpr const char* kPasswordVariable = "REDISCLI_AUTH";  // redis-cli's own

struct AdoptArgs {
  std::string kind;
  std::string at;
  fs::path password_file;
  fs::path out;
  std::string name = "redis";
  std::string service = "cache";
  bool json = false;
};

Result<std::pair<std::string, int>> ReadPlace(const std::string& at) {
  const size_t colon = at.rfind(':');
  const std::string digits = colon == std::string::npos ? "" : at.substr(colon + 1);
  const bool number =
      !digits.empty() && digits.size() < 6 && digits.find_first_not_of("0123456789") == std::string::npos;
  const int port = number ? std::atoi(digits.c_str()) : 0;
  if (colon == 0 || port < 1 || port > 65535) {
    return Error::Invalid("bad-argument", "{} is no HOST:PORT", at).Hint("such as 10.0.0.1:7001");
  }
  std::string host = at.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return std::pair(std::move(host), port);
}

Status CheckName(const std::string& option, const std::string& name) {
  static const std::regex good("[a-z][a-z0-9-]{0,31}");
  if (std::regex_match(name, good)) return Done();
  return Error::Invalid("bad-argument", "--{} can't be {}", option, name)
      .Hint("a name has lower-case letters, digits and dashes, at most 32, and begins with a letter");
}

// Never from an argument: those can be read by everyone on the machine.
Result<std::string> ReadPassword(const AdoptArgs& args) {
  if (args.password_file == "-") return ReadInput(kPasswordMostBytes);
  if (!args.password_file.empty()) {
    MUSTER_TRY(std::string text, ReadFile(args.password_file, kPasswordMostBytes));
    while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
    return text;
  }
  const char* variable = std::getenv(kPasswordVariable);
  return std::string(variable ? variable : "");
}

Result<Adoption> Read(Context& context, const Recipe& recipe, AdoptRequest request, bool may_ask) {
  net::Loop loop;
  auto adoption = loop.RunTask(recipe.adopt(loop, request));
  if (adoption.ok() || adoption.error().code() != "redis-denied") return adoption;
  if (may_ask && context.console.in_is_terminal && request.password.empty()) {
    MUSTER_TRY(request.password, Ask(context.console, "its password (not shown): ", true));
    return loop.RunTask(recipe.adopt(loop, request));
  }
  return std::move(adoption).error().Hint("give its password: --password-file FILE, or {} in the environment",
                                          kPasswordVariable);
}

Error IsThere(const fs::path& out) {
  return Error::Conflict("file-exists", "{} is there already, and stays as it is; nothing was done",
                         out.string())
      .Hint("name another: --out FILE; - prints it");
}

// Never over a file that is there, though it has come a moment ago.
Status WriteNew(const fs::path& out, const std::string& text) {
  const Fd place(::open(out.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!place.valid() && errno == EEXIST) return IsThere(out);
  Status written = WriteFile(out, text);
  if (!written.ok() && place.valid()) ::unlink(out.c_str());
  return written;
}

Json MembersJson(const Adoption& adoption) {
  Json members = Json::array();
  for (const Adoption::Member& one : adoption.members) {
    members.push_back({{"name", one.name},
                       {"address", one.address},
                       {"port", one.port},
                       {"role", one.role},
                       {"pid", one.pid},
                       {"data", one.data}});
  }
  return members;
}

void PrintMembers(const Context& context, const Adoption& adoption) {
  Table table({"MEMBER", "ADDRESS", "PID", "ROLE", "DATA"});
  for (const Adoption::Member& one : adoption.members) {
    table.Add({{one.name},
               {fmt::format("{}:{}", one.address, one.port)},
               {std::to_string(one.pid)},
               {one.role},
               {one.data}});
  }
  context.console.out(table.Text(context.console.color));
}

void PrintNext(const Context& context, const Adoption& adoption, const std::string& file) {
  for (const auto& [secret, value] : adoption.secrets) {
    context.console.OutLine(
        fmt::format("muster secret set {} -f {}    its password, typed or from a file", secret, file));
  }
  context.console.OutLine(fmt::format("muster up {}    takes them over as they run", file));
}

Result<int> Adopt(Context& context, const AdoptArgs& args) {
  const Recipe* recipe = FindRecipe(args.kind);
  if (!recipe || !recipe->adopt) {
    return Error::Invalid("bad-argument", "services of kind {} can't be adopted", args.kind);
  }
  MUSTER_DO(CheckName("name", args.name));
  MUSTER_DO(CheckName("service", args.service));
  MUSTER_TRY(const auto place, ReadPlace(args.at));
  const bool to_output = args.out == "-";
  const fs::path out = args.out.empty() ? fs::path(args.name + ".yaml") : args.out;
  std::error_code unseen;
  const bool taken = !to_output && fs::exists(out, unseen);
  AdoptRequest request{
      .host = place.first, .port = place.second, .cluster = args.name, .service = args.service};
  MUSTER_TRY(request.password, ReadPassword(args));
  // Where there is nothing to adopt the file doesn't matter; where there is, nobody types a password for
  // nothing.
  auto found = Read(context, *recipe, request, args.password_file.empty() && !taken);
  const bool answers = found.ok() || found.error().code() == "redis-denied";
  if (taken && answers) return IsThere(out);
  MUSTER_TRY(Adoption adoption, std::move(found));
  for (Finding& finding : adoption.findings) finding.file = args.at;
  if (!to_output) MUSTER_DO(WriteNew(out, adoption.file));
  const bool bad = HasErrors(adoption.findings);
  if (args.json) {
    Json findings = Json::array();
    for (const Finding& finding : adoption.findings) findings.push_back(api::ToJson(finding));
    Json secrets = Json::array();
    for (const auto& [name, value] : adoption.secrets) secrets.push_back(name);
    PrintJson(context, {{"file", to_output ? "" : out.string()},
                        {"text", adoption.file},
                        {"members", MembersJson(adoption)},
                        {"findings", findings},
                        {"secrets", secrets}});
    return bad ? 1 : 0;
  }
  for (const Finding& finding : adoption.findings) context.console.ErrLine(FormatFinding(finding));
  if (to_output) {
    context.console.OutText(adoption.file);
    return bad ? 1 : 0;
  }
  PrintMembers(context, adoption);
  context.console.OutLine(
      fmt::format("\nwritten to {}{}", out.string(),
                  bad ? "; up refuses it until the errors are mended" : ". Look at it, then:"));
  if (!bad) PrintNext(context, adoption, out.string());
  return bad ? 1 : 0;
}

}  // namespace

void AddAdoptCommands(std::vector<Command>& commands) {
  std::vector<std::string> kinds;
  for (const auto& [kind, recipe] : AllRecipes()) {
    if (recipe.adopt) kinds.push_back(kind);
  }
  Declare<AdoptArgs> adopt("adopt",
                           "Read a service that was set up by hand, and write the cluster file for it");
  adopt.Positional("kind", &AdoptArgs::kind, "What it is")
      .Required()
      .OneOf(std::move(kinds))
      .Positional("host:port", &AdoptArgs::at, "One of its members")
      .Required()
      .Option("password-file", 0, "FILE", &AdoptArgs::password_file,
              "Where its password stands; - is standard input. Else REDISCLI_AUTH in the environment")
      .Offers(Completes::kFile)
      .Option("out", 'o', "FILE", &AdoptArgs::out,
              "Where the file goes, NAME.yaml where left out; - prints it")
      .Offers(Completes::kFile)
      .Option("name", 0, "NAME", &AdoptArgs::name, "What the cluster is to be called; redis where left out")
      .Option("service", 0, "NAME", &AdoptArgs::service,
              "What the service is to be called; cache where left out")
      .Flag("json", 0, &AdoptArgs::json, "Print JSON")
      .Group("Adopting what runs")
      .More(
          "Changes nothing: every member is asked how it is, and what differs from what muster would have "
          "done\n"
          "is told. up with that file takes over what runs as it runs, and restarts nothing. Exit code 1 "
          "where\n"
          "there is something that up would refuse.")
      .Example("muster adopt redis-cluster 127.0.0.1:7001");
  commands.push_back(adopt.Run(Adopt));
}

}  // namespace muster::cli
