//! What `--help` says beyond the options: vendors, faults, their forms, and the admin route.

use provider_sim::Fault;

/// Whom it plays, and what the numbers of its forms mean there.
const VENDORS: &str = "\
Vendors, all on one port (base URLs):
  /v1              OpenAI Images: generations, edits, streams. gpt-image-1.5, gpt-image-2, dall-e-2, … follow their
                   vendor's rules; sim-any takes any size up to 4096 and any further field
  /runware/v1      Runware over REST, and over a WebSocket with ws://; also /v1 itself, as on the vendor's host
  /gemini/v1beta   Gemini: generateContent, streamGenerateContent; also /v1beta, as on the vendor's host
  /localai/v1  /sdcpp/v1  /vllm/v1  /xai/v1   servers that imitate OpenAI, each with its differences
  /easel           another Easel: /easel/api/generate-image";

const FORMS: &str = "\
Forms (a number above the last begins anew):
  refused     OpenAI: 0 moderation of the prompt, 1 of the picture (in a stream: after the first event), 2 an older type,
              3 content_policy_violation. Runware: 0-8 codes of errors, 9 an error on 200, 10 all pictures flagged, 11
              the last one flagged. Gemini: 0-6 blockReason, 7-17 finishReason. xAI: 0 flagged, 1 without a picture, 2 400
  no-picture  Gemini: 0-5 finishReason (5 unknown), 6 words instead, 7 a thought, 8 no candidates, 9 nothing.
              Others: 0 an empty list, 1 an item without a picture, 2 no list (OpenAI, Runware)
  quota       OpenAI: 0 insufficient_quota, 1 billing_hard_limit_reached, 2 project_spend_limit_exceeded.
              Runware: 402 with three codes. Gemini: 0 the day's quota, 1 billing
  --shape     OpenAI: 1 null and further members, few in errors, [DONE]. Runware: 1 a lone object in data, a single
              error; 2 a list called error, 403 without a body. Gemini: 1 snake_case, errors in a list; 2 a thought
              with a draft before the picture, and a signature";

const ADMIN: &str = "\
Admin, while it runs:
  GET    /admin            counters (all and by vendor) and behaviour; /admin?requests adds what was asked
  POST   /admin            a behaviour, from now on: {\"fault\":\"rate-limit:5\",\"times\":2,\"delay\":\"200ms\"}; its members
                           are fault, times, delay, bytes, seed, size, key, lookups, pending, shape; or a list of
                           behaviours, one for each of the next requests for pictures
  DELETE /admin            forget counters, requests, tasks and behaviour";

/// All of it.
pub(crate) fn text() -> String {
    let faults: Vec<String> = Fault::ALL.iter().map(|(_, help)| format!("  {help}")).collect();
    format!(
        "{VENDORS}\n\nFaults, the same for all vendors:\n{}\n\n{FORMS}\n\n{ADMIN}\n\nExamples:\n  provider-sim --listen \
         127.0.0.1:0\n  provider-sim --delay 2s --bytes 2MB\n  provider-sim --fault rate-limit:12 --times 3",
        faults.join("\n")
    )
}
